"""The ViTamin decoder of MedITok and UniTok: transformer blocks, then convolutions to pixels.

It mirrors the encoder: four doublings (nearest neighbour, then a 3×3 convolution) with inverted
bottleneck blocks at 1/8 and 1/4 of the side. Norms act on the channels of each pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers.helpers import make_divisible
from timm.layers.norm import LayerNorm2d
from timm.models import checkpoint_seq
from torch import nn

from .meditok_config import ViTaminSizes
from .vitamin import build_blocks

_EXPANSION = 4


class Upsample(nn.Module):
    """Nearest-neighbour doubling, then a 3×3 convolution.

    A doubled pixel row repeats its source, so each of the four output phases (even or odd row,
    even or odd column) sees only 2×2 source pixels: four 2×2 convolutions of the small map give
    the same numbers as one 3×3 convolution of the doubled map, with 4/9 of its products.
    """

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width_out, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w) -> (B, width_out, 2h, 2w)."""
        rows = []
        for vertical in (0, 1):
            row_weight = _merge_taps(self.conv.weight, 2, vertical)
            columns = []
            for horizontal in (0, 1):
                weight = _merge_taps(row_weight, 3, horizontal)
                padded = F.pad(x, (1 - horizontal, horizontal, 1 - vertical, vertical))
                # Channels last: the layout that the norms and convolutions around it use.
                columns.append(F.conv2d(padded, weight, self.conv.bias).permute(0, 2, 3, 1))
            rows.append(torch.stack(columns, dim=3).flatten(2, 3))
        return torch.stack(rows, dim=2).flatten(1, 2).permute(0, 3, 1, 2)


def _merge_taps(weight: torch.Tensor, dim: int, phase: int) -> torch.Tensor:
    """Three taps along `dim` become two: the two that fall on the same source pixel are added."""
    first, middle, last = weight.unbind(dim)
    taps = (first, middle + last) if phase == 0 else (first + middle, last)
    return torch.stack(taps, dim)


class InverseBlock(nn.Module):
    """Inverted bottleneck with a depthwise convolution; it doubles the side if asked to."""

    def __init__(self, width: int, width_out: int, *, double: bool) -> None:
        super().__init__()
        expanded = make_divisible(_EXPANSION * width_out)
        self.shortcut = Upsample(width, width_out) if double else nn.Identity()
        self.pre_norm = LayerNorm2d(width, eps=1e-6)
        self.conv1_1x1 = nn.Conv2d(width, expanded, 1)
        self.up = Upsample(expanded, expanded) if double else nn.Identity()
        self.conv2_kxk = nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded)
        self.conv3_1x1 = nn.Conv2d(expanded, width_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w) -> (B, width_out, h, w), or twice the side."""
        y = self.up(F.gelu(self.conv1_1x1(self.pre_norm(x))))
        return self.conv3_1x1(F.gelu(self.conv2_kxk(y))) + self.shortcut(x)


class InverseStem(nn.Module):
    """The last doubling and the projection to RGB."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Upsample(width, width)
        self.norm1 = LayerNorm2d(width, eps=1e-6)
        self.conv2 = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w) -> (B, 3, 2h, 2w)."""
        return self.conv2(F.gelu(self.norm1(self.conv1(x))))


class ViTaminDecoder(nn.Module):
    """Tokens to pixels."""

    def __init__(self, sizes: ViTaminSizes, *, drop_path: float = 0.0) -> None:
        super().__init__()
        tokens, eighth, quarter = sizes.decoder_dims
        self.blocks = build_blocks(sizes, drop_path=drop_path)
        self.recompute = False
        """Whether the backward pass computes the blocks' activations again."""
        self.norm = nn.LayerNorm(tokens, eps=1e-6)
        self.up_conv1 = Upsample(tokens, eighth)
        self.up_conv2 = _stage(eighth, eighth, sizes.decoder_depths[0])
        self.up_conv3 = _stage(eighth, quarter, sizes.decoder_depths[1])
        self.up_conv4 = InverseStem(quarter)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Tokens (B, h·w, D) of a grid (h, w) -> RGB (B, 3, 16h, 16w) about [-1, 1]."""
        if self.recompute and torch.is_grad_enabled():
            tokens = checkpoint_seq(self.blocks, tokens)
        else:
            tokens = self.blocks(tokens)
        x = self.norm(tokens)
        x = x.transpose(1, 2).unflatten(2, grid)
        return self.up_conv4(self.up_conv3(self.up_conv2(self.up_conv1(x))))


def _stage(width: int, width_out: int, depth: int) -> nn.Sequential:
    first = InverseBlock(width, width_out, double=True)
    others = (InverseBlock(width_out, width_out, double=False) for _ in range(depth - 1))
    return nn.Sequential(first, *others)
