"""A transform code of image patches, which a network that starts from scratch can learn first.

Every patch has a discrete cosine transform in an opponent colour space; its lowest frequencies are
a good code of natural images and need no data to be known. While there are no codebooks yet, an
encoder that learns to compute it and a decoder that learns to invert it do not have to wait for
each other. A network left to itself finds brightness first, and one whose codes were made then
never finds colour.

Source: Ahmed, Natarajan, Rao, "Discrete cosine transform", IEEE Transactions on Computers C-23,
1974.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..harness.errors import UsageError
from .meditok_config import DOWNSAMPLE

_OPPONENT = ((0.577, 0.577, 0.577), (0.707, 0.0, -0.707), (0.408, -0.816, 0.408))
"""Brightness and two colour axes, orthonormal."""
_COLOUR_SHARE = 0.2
"""Spread of a colour axis against that of brightness."""
_CONSTANT = 1.0
"""Beside the coefficients of a chunk, so that its direction keeps their amplitude."""


class PatchTransform(nn.Module):
    """Images to the strongest coefficients of every patch.

    Args:
        count: D, coefficients of a patch.
        side: of a patch, pixels.
        channels: of the images; 3, or 1 for brightness alone.

    Raises:
        UsageError: a patch has fewer coefficients.
    """

    def __init__(self, count: int, side: int, *, channels: int = 3) -> None:
        super().__init__()
        if count > channels * side**2:
            message = (
                f"a patch of {side} pixels has {channels * side**2} coefficients, a code of "
                f"{count} dimensions needs as many: leave out transform_code"
            )
            raise UsageError(message)
        self.side = side
        kernels, spreads = _basis(count, side, channels)
        # Divided by the side, a patch's mean spreads about one; weak coefficients are lifted.
        weight = kernels * (spreads.rsqrt() / side)[:, None, None, None]
        self.weight: torch.Tensor
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, channels, H, W) in [-1, 1] -> float32 (B, D, H / side, W / side)."""
        return F.conv2d(images.float(), self.weight.to(images.device), stride=self.side)


class TransformCode(nn.Module):
    """Images to unit vectors, `chunks` of `width` for every patch of 16 x 16 pixels.

    Args:
        chunks: K.
        width: D of each; the last number of a chunk comes from a constant.
    """

    def __init__(self, chunks: int, width: int) -> None:
        super().__init__()
        self.chunks, self.width = chunks, width
        self.transform = PatchTransform(chunks * (width - 1), DOWNSAMPLE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> float32 (B, L, K, D), rows of length one."""
        coefficients = self.transform(images).flatten(2)
        # Strong and weak ones in every chunk: coefficient i goes to chunk i mod K.
        dealt = coefficients.transpose(1, 2).unflatten(2, (self.width - 1, self.chunks))
        dealt = dealt.transpose(2, 3)
        constant = torch.full_like(dealt[..., :1], _CONSTANT)
        return F.normalize(torch.cat([dealt, constant], dim=-1), dim=-1)


def _spread(frequency: float) -> float:
    """Spread of a coefficient against that of the mean, as medical images have it, roughly.

    In waves per 32 pixels.
    """
    return 1.0 if frequency == 0 else 0.17 * frequency**-1.3


def _basis(count: int, side: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The functions of largest spread (count, channels, side, side), and their spreads."""
    place = torch.arange(side, dtype=torch.float64) + 0.5
    waves = torch.cos(math.pi / side * place[None, :] * torch.arange(side)[:, None].double())
    waves = waves / waves.norm(dim=1, keepdim=True)
    axes = _OPPONENT if channels == 3 else ((1.0,),)
    found = [
        (share * _spread(math.hypot(row, column) * DOWNSAMPLE / side), axis, row, column)
        for axis, share in zip(range(len(axes)), (1.0, _COLOUR_SHARE, _COLOUR_SHARE), strict=False)
        for row in range(side)
        for column in range(side)
    ]
    found.sort(key=lambda each: (-each[0], *each[1:]))
    chosen = found[:count]
    colours = torch.tensor(axes, dtype=torch.float64)
    kernels = torch.stack(
        [colours[a][:, None, None] * torch.outer(waves[r], waves[c]) for _, a, r, c in chosen]
    )
    return kernels.float(), torch.tensor([each[0] for each in chosen])
