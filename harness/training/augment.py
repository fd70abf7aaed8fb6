"""Random turns, colour changes and blends, for learning from few sources of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


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
        turns: whether a crop is flipped and turned by quarters at random; left and right of a
            text do not follow.
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
    turns: bool = True


def turn(image: torch.Tensor, which: int) -> torch.Tensor:
    """One of the eight flips and quarter turns of an image (..., H, H)."""
    image = torch.rot90(image, which % 4, (-2, -1))
    return image.flip(-1) if which >= 4 else image


def recolour(
    image: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Random colour, gamma and contrast of an image (3, H, W) in [0, 1]; stays in [0, 1]."""
    image = _repaint(image, augmentation, generator)
    if uniform(generator) < augmentation.invert:
        image = 1 - image
    if uniform(generator) < augmentation.gamma:
        image = image.clamp(1e-4, 1) ** math.exp(1.2 * (uniform(generator) - 0.5))
    if uniform(generator) < augmentation.contrast:
        level = uniform(generator)
        image = level + (0.2 + 0.95 * uniform(generator)) * (image - level)
    return image.clamp(0, 1)


def _repaint(
    image: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Take colour away, lay it on as two inks, or change it; may leave [0, 1]."""
    draw = uniform(generator) - augmentation.grey
    if draw < augmentation.duotone:
        weights = torch.rand(3, generator=generator) + 0.1
        image = torch.einsum("c,chw->hw", weights / weights.sum(), image).expand(3, -1, -1)
        if draw >= 0:
            dark, light = torch.rand(2, 3, 1, 1, generator=generator)
            image = dark + (light - dark) * image
    elif uniform(generator) < augmentation.shift:
        image = image[torch.randperm(3, generator=generator)]
        grey = image.mean(dim=0, keepdim=True)
        image = grey + 2 * uniform(generator) * (image - grey)
        image = image * (1 + 0.5 * (torch.rand(3, 1, 1, generator=generator) - 0.5))
        image = image + 0.2 * (torch.rand(3, 1, 1, generator=generator) - 0.5)
    return image


def blend(first: torch.Tensor, second: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Two images (3, H, W) in [0, 1] seen at once; stays in [0, 1]."""
    share = uniform(generator)
    if uniform(generator) < 0.5:
        return first * share + second * (1 - share)
    return first * (share + (1 - share) * second)  # as light falls through a second layer


def uniform(generator: torch.Generator) -> float:
    """A number in [0, 1)."""
    return float(torch.rand((), generator=generator))


def integer(end: int, generator: torch.Generator) -> int:
    """A whole number in [0, end)."""
    return int(torch.randint(end, (), generator=generator))
