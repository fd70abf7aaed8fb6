"""The augmentation that MedITok's repository trains with.

A crop of most of the image, flips, a quarter turn either way (upstream's turns go one way only,
by two sign errors that cancel), and now and then no colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from ..augment import integer, uniform
from .pixels import to_square

_AREA = (0.9, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_FLIPPED = _TURNED = 0.5
_GREY = 0.1
_LUMA = (0.2989, 0.587, 0.114)
"""Of ITU-R BT.601, in torchvision's rounding."""


@dataclass(frozen=True, slots=True)
class Box:
    """Part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def official(pixels: NDArray[Any], side: int, generator: torch.Generator) -> torch.Tensor:
    """One augmented view.

    Args:
        pixels: uint8 (H, W, 3) or float32 (H, W) in [0, 1].
        side: of the result.
        generator: of all draws.

    Returns:
        float32 (3, side, side) in [0, 1].
    """
    box = draw_box(pixels.shape[0], pixels.shape[1], generator)
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    image = to_square(part, side)
    for axis in (-1, -2):
        if uniform(generator) < _FLIPPED:
            image = image.flip(axis)
    if uniform(generator) < _TURNED:
        image = torch.rot90(image, 1 - 2 * integer(2, generator), (-2, -1))
    if uniform(generator) < _GREY:
        luma = torch.tensor(_LUMA)[:, None, None]
        image = (image * luma).sum(dim=0).clamp(max=1).expand(3, -1, -1)
    return image


def draw_box(height: int, width: int, generator: torch.Generator) -> Box:
    """A box with 90 to 100 % of an image's area and nearly its shape.

    Area and aspect are drawn until the box fits, ten times at most; then it is the largest one in
    the middle whose aspect is allowed (the rule of "RandomResizedCrop", Szegedy et al. 2015, as
    torchvision has it).
    """
    for _ in range(_ATTEMPTS):
        area = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * uniform(generator))
        low, high = (math.log(end) for end in _ASPECT)
        aspect = math.exp(low + (high - low) * uniform(generator))
        tall, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < tall <= height and 0 < wide <= width:
            top, left = integer(height - tall + 1, generator), integer(width - wide + 1, generator)
            return Box(top, left, tall, wide)
    aspect = min(max(width / height, _ASPECT[0]), _ASPECT[1])
    tall, wide = min(height, round(width / aspect)), min(width, round(height * aspect))
    return Box((height - tall) // 2, (width - wide) // 2, tall, wide)
