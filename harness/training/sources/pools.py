"""Augmented crops from pools of procedural images: learning from few sources, without end."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch

from ...errors import UsageError
from ..augment import Augmentation, blend, integer, recolour, turn, uniform
from ..config_terms import read_fields
from ..pool import Pool, PoolSpec, open_pool
from .pixels import to_square
from .source import TrainingImage, sample_generator


@dataclass(frozen=True, slots=True)
class PoolsTerms:
    """Which pools, and what happens to their images.

    Attributes:
        kind: names this form.
        pools: where images come from.
        shares: how often each pool is drawn from, relative to the others.
        augmentation: what happens to a crop.
    """

    kind: Literal["pools"]
    pools: tuple[PoolSpec, ...]
    shares: tuple[float, ...]
    augmentation: Augmentation


class PoolSource:
    """Draws augmented crops from pools, with replacement.

    Args:
        pools: where images come from.
        shares: how often each pool is drawn from, relative to the others.
        augmentation: what happens to a crop.
        seed: of every draw.
    """

    size = None
    fingerprint = ""

    def __init__(
        self,
        pools: Sequence[Pool],
        shares: Sequence[float],
        augmentation: Augmentation,
        *,
        seed: int,
    ) -> None:
        if len(pools) != len(shares) or not pools or min(shares) < 0 or sum(shares) <= 0:
            message = f"every pool needs a share of at least 0: {len(pools)} pools, shares {shares}"
            raise UsageError(message)
        self._pools = list(pools)
        sums = list(accumulate(shares))
        self._bounds = [each / sums[-1] for each in sums]
        self._augmentation = augmentation
        self._seed = seed

    def sample(self, position: int, side: int) -> TrainingImage:
        """A crop of side `side`; where two are blended, text and label are the first one's."""
        generator = sample_generator(self._seed, position)
        pool, index = self._draw(generator)
        crop = self._crop(pool, index, side, generator)
        if uniform(generator) < self._augmentation.blend:
            crop = blend(crop, self._crop(*self._draw(generator), side, generator), generator)
        told = pool.rows[index]
        image = recolour(crop, self._augmentation, generator)
        return TrainingImage(image, told.text, told.label, told.modality)

    def _draw(self, generator: torch.Generator) -> tuple[Pool, int]:
        pool = self._pools[bisect(self._bounds, uniform(generator))]
        return pool, integer(len(pool.images), generator)

    def _crop(self, pool: Pool, index: int, side: int, generator: torch.Generator) -> torch.Tensor:
        full = pool.images.shape[1]
        zoom = 1.0
        if uniform(generator) >= self._augmentation.natural_scale:
            low, high = (math.log(end) for end in self._augmentation.zoom)
            zoom = math.exp(low + (high - low) * uniform(generator))
        window = min(full, round(side / zoom))
        top, left = (integer(full - window + 1, generator) for _ in "yx")
        crop = to_square(pool.images[index, top : top + window, left : left + window], side)
        return turn(crop, integer(8, generator)) if self._augmentation.turns else crop


def build_pools(
    terms: Mapping[str, Any], *, seed: int, folder: Path, workers: int, where: str
) -> PoolSource:
    """The source of `kind: pools`; see `build_source`."""
    read = read_fields(PoolsTerms, terms, where)
    pools = [open_pool(spec, folder, workers=workers) for spec in read.pools]
    return PoolSource(pools, read.shares, read.augmentation, seed=seed)
