"""Several sources in fixed shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..config_terms import read_fields
from .source import ImageSource, TrainingImage

BLOCK = 1000
"""Positions in which the shares are kept exactly (rounded to thousandths)."""


@dataclass(frozen=True, slots=True)
class MixtureTerms:
    """Which sources.

    Attributes:
        kind: names this form.
        sources: each as `build_source` takes it.
        shares: how often each is drawn from, relative to the others.
    """

    kind: Literal["mixture"]
    sources: tuple[dict[str, Any], ...]
    shares: tuple[float, ...]


class MixedSource:
    """Sources in turn, in a random order with fixed shares; each runs through its own positions.

    Args:
        sources: what is mixed.
        shares: how often each is drawn from, relative to the others.
        seed: of the order.

    Raises:
        UsageError: the shares do not fit the sources.
    """

    def __init__(
        self, sources: Sequence[ImageSource], shares: Sequence[float], *, seed: int
    ) -> None:
        if len(sources) != len(shares) or not sources or min(shares) <= 0:
            message = f"every source needs a positive share: {len(sources)} sources, {shares}"
            raise UsageError(message)
        self._sources = list(sources)
        self._counts = _rounded(np.asarray(shares, dtype=np.float64))
        self._seed = seed
        if 0 in self._counts:
            message = f"a share of less than 1 / {BLOCK} is never drawn: {shares}"
            raise UsageError(message)

    @property
    def size(self) -> int | None:
        """Distinct images of all sources; None where one has no end of them."""
        sizes = [source.size for source in self._sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def fingerprint(self) -> str:
        """Of all lists among the sources; see `ImageSource`."""
        return " + ".join(each for source in self._sources if (each := source.fingerprint))

    def sample(self, position: int, side: int) -> TrainingImage:
        """The image at a position; see `ImageSource`."""
        block, place = divmod(position, BLOCK)
        order = _order(self._seed, block, self._counts)
        number = int(order[place])
        before = int(np.count_nonzero(order[:place] == number))
        return self._sources[number].sample(block * self._counts[number] + before, side)


def _rounded(shares: NDArray[np.float64]) -> tuple[int, ...]:
    """Whole numbers that sum to `BLOCK`, by the largest remainders."""
    exact = shares / shares.sum() * BLOCK
    counts = np.floor(exact).astype(int)
    most = np.argsort(counts - exact, kind="stable")[: BLOCK - counts.sum()]
    counts[most] += 1
    return tuple(int(count) for count in counts)


@lru_cache(maxsize=4)
def _order(seed: int, block: int, counts: tuple[int, ...]) -> NDArray[np.int64]:
    """Which source has each position of a block."""
    numbers = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng([seed, block, 2]).permutation(numbers)


def build_mixture(
    terms: Mapping[str, Any], *, seed: int, cache: Path, workers: int, where: str
) -> MixedSource:
    """The source of `kind: mixture`; see `build_source`."""
    from .build import build_source

    read = read_fields(MixtureTerms, terms, where)
    # Seeds of their own, or sources would make the same choices at the same positions.
    seeds = np.random.SeedSequence([seed, 3]).generate_state(len(read.sources)).tolist()
    sources = [
        build_source(
            each, seed=own, cache=cache, workers=workers, where=f"{where}.sources[{number}]"
        )
        for number, (each, own) in enumerate(zip(read.sources, seeds, strict=True))
    ]
    return MixedSource(sources, read.shares, seed=seed)
