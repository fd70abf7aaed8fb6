"""The terms of a tokenizer's training that compare pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from .config_terms import require_at_least

_FLOOR = 5e-4
"""Squared error below which the logarithmic terms no longer care (39 dB)."""


@dataclass(frozen=True, slots=True)
class PixelTerms:
    """Weights of the terms, on images in [-1, 1].

    Attributes:
        l1: absolute error.
        l2: squared error.
        log_l2: logarithm of an image's mean squared error (what PSNR is made of).
        coarse: the same of 8x8 block means.
        chroma: the same of the block means' colour alone (an RGB error without its mean over the
            channels).
        chroma_from: step from which the colour term counts.
        structure: 1 - SSIM.
    """

    l1: float = 0.2
    l2: float = 1.0
    log_l2: float = 0.0
    coarse: float = 0.0
    chroma: float = 0.0
    chroma_from: int = 0
    structure: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a reward for errors."""
        require_at_least(0, self, *(each.name for each in fields(self)))


def pixel_terms(
    rec: torch.Tensor, images: torch.Tensor, weights: PixelTerms, step: int
) -> dict[str, torch.Tensor]:
    """The weighted terms of reconstructions and images, both (B, C, H, W); those of weight 0 not.

    Each is a mean over the images.
    """
    error = rec - images
    squared = error.square().flatten(1).mean(dim=1)
    terms: dict[str, torch.Tensor] = {}
    if weights.l1:
        terms["l1"] = weights.l1 * error.abs().mean()
    if weights.l2:
        terms["l2"] = weights.l2 * squared.mean()
    if weights.log_l2:
        terms["log_l2"] = weights.log_l2 * (squared + _FLOOR).log().mean()
    if weights.coarse:
        blocks = F.avg_pool2d(error, 8).square().flatten(1).mean(dim=1)
        terms["coarse"] = weights.coarse * (blocks + _FLOOR / 5).log().mean()
    if weights.chroma and step >= weights.chroma_from:
        colour = error - error.mean(dim=1, keepdim=True)
        tints = F.avg_pool2d(colour, 8).square().flatten(1).mean(dim=1)
        terms["chroma"] = weights.chroma * (tints + _FLOOR / 5).log().mean()
    if weights.structure:
        terms["structure"] = weights.structure * structure_loss(rec, images)
    return terms


def structure_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 - SSIM with a uniform 8x8 window at stride 4, mean over three scales (Wang et al. 2004).

    Args:
        first: images (B, C, H, W) in about [-1, 1], H and W at least 32.
        second: the same shape.

    Uniform windows in steps cost a tenth of Gaussian ones at every pixel, and teach the same.
    """
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    losses = []
    for scale in range(3):
        if scale:
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        maps = torch.cat([first, second, first.square() + second.square(), first * second], dim=1)
        mean1, mean2, power, product = F.avg_pool2d(maps, 8, 4).chunk(4, dim=1)
        squares = mean1.square() + mean2.square()
        crossed = mean1 * mean2
        brightness = (2 * crossed + c1) / (squares + c1)
        contrast = (2 * (product - crossed) + c2) / (power - squares + c2)
        losses.append(1 - (brightness * contrast).mean())
    return torch.stack(losses).mean()
