"""What a discriminator sees instead of the image: shifted, recoloured, with a hole, first blurred.

The same changes for real and reconstructed images keep a discriminator from learning the few
images by heart; gradients flow through all of them. Source: Zhao et al. 2020, "Differentiable
augmentation for data-efficient GAN training", in the form of MedITok's trainer (Ma et al. 2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 0.125
"""Largest shift, of the side."""
_HOLE = 0.2
"""Side of the cut-out square, of the image's side."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How each image of a batch is changed.

    Attributes:
        shift: whether all are shifted.
        recolour: whether all are recoloured.
        cut: whether all lose a square.
        amounts: float32 (7, N) in [0, 1): of each image, the shift down and to the right,
            brightness, saturation, contrast, and the row and column of the hole's centre.
    """

    shift: bool
    recolour: bool
    cut: bool
    amounts: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, *, probability: float = 1.0) -> Changes:
        """Draw changes for a whole batch, each of the three kinds with this probability."""
        shift, recolour, cut = (torch.rand(3, generator=generator) < probability).tolist()
        return cls(shift, recolour, cut, torch.rand(7, count, generator=generator))

    def rows(self, rows: slice) -> Changes:
        """Those of some images of the batch."""
        return Changes(self.shift, self.recolour, self.cut, self.amounts[:, rows])

    def apply(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] -> changed, same shape; what is moved in or cut is 0."""
        amounts = self.amounts.to(images)
        if self.shift:
            images = _shifted(images, self.amounts[0].tolist(), self.amounts[1].tolist())
        if self.recolour:
            images = _recoloured(images, *amounts[2:5, :, None, None, None])
        if self.cut:
            images = images * _outside_hole(images, *amounts[5:])
        return images


def blurred(images: Tensor, fade: float) -> Tensor:
    """Blur images by what is left of the fading.

    Args:
        images: (N, C, H, W).
        fade: 1 blurs most, 0 not at all. The kernel is 2^-((t/σ)²) with σ = sqrt(H/2) · fade, cut
            at 3σ; the borders are mirrored.
    """
    height, width = images.shape[-2:]
    sigma = math.sqrt(height / 2) * fade
    radius = math.floor(3 * sigma)
    if radius < 1:
        return images
    rows, columns = (_blur_matrix(side, radius, sigma).to(images) for side in (height, width))
    return rows.T @ images @ columns


def _blur_matrix(side: int, radius: int, sigma: float) -> Tensor:
    """(side, side): column j holds the weights of all pixels of a line in its blurred pixel j."""
    radius = min(radius, side - 1)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp2(-((offsets / sigma) ** 2))
    mirrored = F.pad(torch.eye(side)[None], (radius, radius), mode="reflect")[0]
    return mirrored.unfold(1, 2 * radius + 1, 1) @ (kernel / kernel.sum())


def _shifted(images: Tensor, down: list[float], right: list[float]) -> Tensor:
    height, width = images.shape[-2:]
    most_y, most_x = round(height * _SHIFT), round(width * _SHIFT)
    moved = []
    for image, u, v in zip(images, down, right, strict=True):
        y, x = math.floor(u * (2 * most_y + 1)) - most_y, math.floor(v * (2 * most_x + 1)) - most_x
        moved.append(F.pad(image, (x, -x, y, -y)))
    return torch.stack(moved)


def _recoloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness plus up to ±0.5, then saturation times up to 2, then contrast times 0.5 to 1.5.

    The three are one affine map of a pixel, its grey and the image's mean: so there are two passes
    over the pixels instead of seven.
    """
    saturation, contrast = 2 * saturation, 0.5 + contrast
    grey = images.mean(dim=1, keepdim=True)
    level = grey.mean(dim=(2, 3), keepdim=True)
    offset = contrast * (1 - saturation) * grey + (brightness - 0.5 + (1 - contrast) * level)
    return torch.addcmul(offset, images, contrast * saturation)


def _outside_hole(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, 1, H, W): 0 in a square about a centre that lies anywhere, so that it may stick out."""
    inside = []
    for side, centres in zip(images.shape[-2:], (rows, columns), strict=True):
        hole = round(side * _HOLE)
        start = (centres * (side + 1 - hole % 2)).floor() - hole // 2
        place = torch.arange(side, device=images.device) - start[:, None]
        inside.append((place >= 0) & (place < hole))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return (~hole).to(images.dtype)
