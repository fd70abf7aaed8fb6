"""Convolutional encoder and decoder of the VQGAN family (Esser et al. 2021, arXiv:2012.09841).

Attribute names are taming-transformers' own, so that checkpoints of the family load without
renaming. Shapes: B images, C channels, (H, W) the side of a level.

A normalisation made by the factory is called with the features, and with the `condition` too where
one is given: that is how a decoder whose norms look at the quantised map is built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tokenizers.vitamin_decoder import Upsample
from .taming_config import TrunkSizes

NormFactory = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels."""


def group_norm(groups: int) -> NormFactory:
    """The family's normalisation: epsilon 1e-6."""
    return partial(nn.GroupNorm, groups, eps=1e-6)


def _normalise(norm: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    return norm(x) if condition is None else norm(x, condition)


class ResnetBlock(nn.Module):
    """Norm, swish and 3×3 convolution, twice; plus the input, through 1×1 where widths differ."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: NormFactory,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        h = self.conv1(F.silu(_normalise(self.norm1, x, condition)))
        h = self.conv2(self.dropout(F.silu(_normalise(self.norm2, h, condition))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """Self-attention over all positions with a single head of the full width; plus the input."""

    def __init__(self, channels: int, *, norm: NormFactory) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h = _normalise(self.norm, x, condition)
        q, k, v = (
            part(h).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)  # scales by C^-½
        return x + self.proj_out(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Half the side: one zero to the right and below, then 3×3 with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Level(nn.Module):
    """Residual blocks, each followed by attention where the level has any, then the resampling."""

    def __init__(
        self,
        channels: list[int],
        *,
        attention: bool,
        resample: Literal["downsample", "upsample"] | None,
        norm: NormFactory,
        dropout: float,
    ) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.block = nn.ModuleList(
            ResnetBlock(before, after, norm=norm, dropout=dropout) for before, after in pairs
        )
        self.attn = nn.ModuleList(
            AttnBlock(after, norm=norm) for _, after in (pairs if attention else [])
        )
        if resample == "downsample":
            self.downsample = Downsample(channels[-1])
        elif resample == "upsample":
            self.upsample = Upsample(channels[-1], channels[-1])

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for place, block in enumerate(self.block):
            x = block(x, condition)
            if len(self.attn):
                x = self.attn[place](x, condition)
        if hasattr(self, "downsample"):
            return self.downsample(x)
        return self.upsample(x) if hasattr(self, "upsample") else x


class _Mid(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, channels: int, *, norm: NormFactory, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, norm=norm, dropout=dropout)
        self.attn_1 = AttnBlock(channels, norm=norm)
        self.block_2 = ResnetBlock(channels, channels, norm=norm, dropout=dropout)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.attn_1(self.block_1(x, condition), condition)
        return self.block_2(x, condition)


class Encoder(nn.Module):
    """Images to a latent map.

    Args:
        sizes: widths, depths and the levels that have attention.
    """

    def __init__(self, sizes: TrunkSizes) -> None:
        super().__init__()
        norm = group_norm(sizes.norm_groups)
        self.conv_in = nn.Conv2d(sizes.in_channels, sizes.ch, 3, padding=1)
        self.down = nn.ModuleList()
        before, last = sizes.ch, len(sizes.widths) - 1
        for index, width in enumerate(sizes.widths):
            level = _Level(
                [before] + [width] * sizes.num_res_blocks,
                attention=index in sizes.encoder_attention,
                resample="downsample" if index < last else None,
                norm=norm,
                dropout=sizes.dropout,
            )
            self.down.append(level)
            before = width
        self.mid = _Mid(before, norm=norm, dropout=sizes.dropout)
        self.norm_out = norm(before)
        channels_out = sizes.z_channels * (2 if sizes.double_z else 1)
        self.conv_out = nn.Conv2d(before, channels_out, 3, padding=1)

    @property
    def before_norm(self) -> nn.Module:
        """What the norm of the main path follows."""
        return self.mid.block_2.conv2

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, z_channels or twice that, H / f, W / f)."""
        # Convolutions run a tenth faster on channels that lie side by side.
        h = self.conv_in(x).contiguous(memory_format=torch.channels_last)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h)))).contiguous()


class Decoder(nn.Module):
    """A latent map to images; `up[0]` is the level of the image's own resolution, and runs last.

    Args:
        sizes: widths, depths and the levels that have attention.
        norm: makes each normalisation; None: the encoder's.
    """

    def __init__(self, sizes: TrunkSizes, *, norm: NormFactory | None = None) -> None:
        super().__init__()
        norm = norm or group_norm(sizes.norm_groups)
        before = sizes.widths[-1]
        self.conv_in = nn.Conv2d(sizes.z_channels, before, 3, padding=1)
        self.mid = _Mid(before, norm=norm, dropout=sizes.dropout)
        levels: list[nn.Module] = []
        for index, width in reversed(list(enumerate(sizes.widths))):
            level = _Level(
                [before] + [width] * (sizes.num_res_blocks + 1),
                attention=index in sizes.decoder_attention,
                resample="upsample" if index > 0 else None,
                norm=norm,
                dropout=sizes.dropout,
            )
            levels.insert(0, level)
            before = width
        self.up = nn.ModuleList(levels)
        self.norm_out = norm(before)
        self.conv_out = nn.Conv2d(before, sizes.out_channels, 3, padding=1)

    @property
    def before_norm(self) -> nn.Module:
        """What the norm of the main path follows."""
        last: Any = self.up[0]
        return last.block[-1].conv2

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, z_channels, h, w) -> (B, out_channels, h·f, w·f), not clamped."""
        h = self.mid(self.conv_in(z), condition)
        for level in reversed(self.up):
            h = level(h, condition)
        return self.conv_out(F.silu(_normalise(self.norm_out, h, condition)))
