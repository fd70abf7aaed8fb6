"""Random crops and colour changes for learning reconstruction from few sources of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how far images are changed.

    Attributes:
        natural_scale: share of the crops that keep the source's scale; the others are zoomed by
            a log-uniform factor between `zoom`'s ends, as far as the source reaches.
        zoom: smallest and largest factor.
        blend: share of the crops that are mixed with a second one.
        grey: share that lose their colour.
        duotone: share that get two random colours, one for dark and one for light.
        shift: share of the others whose colours are exchanged, made stronger or weaker, and moved.
        invert: share whose brightness is turned round.
        gamma: share with another gamma, up to e^±0.6.
        contrast: share with less (or a little more) contrast about a random level.
    """

    natural_scale: float
    zoom: tuple[float, float]
    blend: float
    grey: float
    duotone: float
    shift: float
    invert: float
    gamma: float
    contrast: float


class CropSource:
    """Draws augmented crops from pools of images.

    Args:
        pools: uint8 (N, H, H, 3) each.
        shares: how often each pool is drawn from, relative to the others.
        augmentation: what happens to a crop.
    """

    def __init__(
        self,
        pools: Sequence[NDArray[np.uint8]],
        shares: Sequence[float],
        augmentation: Augmentation,
    ) -> None:
        if len(pools) != len(shares) or not pools or min(shares) < 0 or sum(shares) <= 0:
            message = f"every pool needs a share of at least 0: {len(pools)} pools, shares {shares}"
            raise UsageError(message)
        self._pools = list(pools)
        self._shares = torch.tensor(shares, dtype=torch.float64)
        self._augmentation = augmentation

    def batch(self, count: int, side: int, generator: torch.Generator) -> torch.Tensor:
        """`count` crops, float32 (count, 3, side, side) in [0, 1]."""
        which = torch.multinomial(self._shares, count, replacement=True, generator=generator)
        return torch.stack([self._one(int(pool), side, generator) for pool in which])

    def _one(self, pool: int, side: int, generator: torch.Generator) -> torch.Tensor:
        crop = self._crop(pool, side, generator)
        if _uniform(generator) < self._augmentation.blend:
            other = int(torch.multinomial(self._shares, 1, generator=generator))
            crop = _blend(crop, self._crop(other, side, generator), generator)
        return recolour(crop, self._augmentation, generator)

    def _crop(self, pool: int, side: int, generator: torch.Generator) -> torch.Tensor:
        images = self._pools[pool]
        full = images.shape[1]
        zoom = 1.0
        if _uniform(generator) >= self._augmentation.natural_scale:
            low, high = (math.log(end) for end in self._augmentation.zoom)
            zoom = math.exp(low + (high - low) * _uniform(generator))
        window = min(full, round(side / zoom))
        image = images[_integer(len(images), generator)]
        top, left = (_integer(full - window + 1, generator) for _ in "yx")
        pixels = image[top : top + window, left : left + window].copy()  # the map is read-only
        crop = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
        if window != side:
            size = (side, side)
            crop = F.interpolate(crop[None], size, mode="bilinear", antialias=True)[0]
        return turn(crop, _integer(8, generator))


def turn(image: torch.Tensor, which: int) -> torch.Tensor:
    """One of the eight flips and quarter turns of an image (..., H, H)."""
    image = torch.rot90(image, which % 4, (-2, -1))
    return image.flip(-1) if which >= 4 else image


def recolour(
    image: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Random colour, gamma and contrast of an image (3, H, W) in [0, 1]; stays in [0, 1]."""
    image = _repaint(image, augmentation, generator)
    if _uniform(generator) < augmentation.invert:
        image = 1 - image
    if _uniform(generator) < augmentation.gamma:
        image = image.clamp(1e-4, 1) ** math.exp(1.2 * (_uniform(generator) - 0.5))
    if _uniform(generator) < augmentation.contrast:
        level = _uniform(generator)
        image = level + (0.2 + 0.95 * _uniform(generator)) * (image - level)
    return image.clamp(0, 1)


def _repaint(
    image: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Take colour away, lay it on as two inks, or change it; may leave [0, 1]."""
    draw = _uniform(generator) - augmentation.grey
    if draw < augmentation.duotone:
        weights = torch.rand(3, generator=generator) + 0.1
        image = torch.einsum("c,chw->hw", weights / weights.sum(), image).expand(3, -1, -1)
        if draw >= 0:
            dark, light = torch.rand(2, 3, 1, 1, generator=generator)
            image = dark + (light - dark) * image
    elif _uniform(generator) < augmentation.shift:
        image = image[torch.randperm(3, generator=generator)]
        grey = image.mean(dim=0, keepdim=True)
        image = grey + 2 * _uniform(generator) * (image - grey)
        image = image * (1 + 0.5 * (torch.rand(3, 1, 1, generator=generator) - 0.5))
        image = image + 0.2 * (torch.rand(3, 1, 1, generator=generator) - 0.5)
    return image


def _blend(first: torch.Tensor, second: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    share = _uniform(generator)
    if _uniform(generator) < 0.5:
        return first * share + second * (1 - share)
    return first * (share + (1 - share) * second)  # as light falls through a second layer


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _integer(end: int, generator: torch.Generator) -> int:
    """A whole number in [0, end)."""
    return int(torch.randint(end, (), generator=generator))
