"""TokenFlow's pixel encoder and decoder: the VQGAN family's blocks under TokenFlow's keys.

Both list their levels in the order in which they run. Attention follows each residual block at the
lowest resolution only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..tokenizers.vitamin_decoder import Upsample
from .taming_blocks import AttnBlock, Downsample, NormFactory, ResnetBlock


class Level(nn.Module):
    """Residual blocks at one resolution, and the step to the next."""

    def __init__(self, widths: Sequence[int], *, attend: bool, norm: NormFactory) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.res = nn.ModuleList(ResnetBlock(*pair, norm=norm) for pair in pairs)
        self.attn = nn.ModuleList(AttnBlock(out, norm=norm) for _, out in pairs if attend)
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, widths[0], h, w) -> (B, widths[-1], …), the side halved, doubled or as it was."""
        for place, block in enumerate(self.res):
            x = block(x)
            if self.attn:
                x = self.attn[place](x)
        return self.upsample(self.downsample(x))


def _middle(width: int, norm: NormFactory) -> nn.Sequential:
    return nn.Sequential(
        ResnetBlock(width, width, norm=norm),
        AttnBlock(width, norm=norm),
        ResnetBlock(width, width, norm=norm),
    )


class PixelEncoder(nn.Module):
    """Images to latent cells.

    Args:
        multiples: width of each level over `base`, from the full resolution down.
        base: width of the first convolution.
        blocks: residual blocks per level.
        latent: width of the output.
        norm: makes each normalisation.
    """

    def __init__(
        self,
        multiples: Sequence[int],
        base: int,
        *,
        blocks: int,
        latent: int,
        norm: NormFactory,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, base, 3, padding=1)
        self.conv_blocks = nn.Sequential()
        width = base
        for level, multiple in enumerate(multiples, start=1):
            widths = [width] + [base * multiple] * blocks
            width = widths[-1]
            step = Level(widths, attend=level == len(multiples), norm=norm)
            if level < len(multiples):
                step.downsample = Downsample(width)
            self.conv_blocks.append(step)
        self.mid = _middle(width, norm)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, latent, 3, padding=1)

    @property
    def before_norm(self) -> nn.Module:
        """What the norm of the main path follows."""
        last: Any = self.mid[-1]
        return last.conv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, latent, H/2ⁿ, W/2ⁿ), n levels less one."""
        x = self.mid(self.conv_blocks(self.conv_in(x)))
        return self.conv_out(F.silu(self.norm_out(x)))


class PixelDecoder(nn.Module):
    """Latent cells to images; arguments as `PixelEncoder`, with one more block per level."""

    def __init__(
        self,
        multiples: Sequence[int],
        base: int,
        *,
        blocks: int,
        latent: int,
        norm: NormFactory,
    ) -> None:
        super().__init__()
        width = base * multiples[-1]
        self.conv_in = nn.Conv2d(latent, width, 3, padding=1)
        self.mid = _middle(width, norm)
        self.conv_blocks = nn.Sequential()
        for level, multiple in enumerate(reversed(multiples), start=1):
            widths = [width] + [base * multiple] * (blocks + 1)
            width = widths[-1]
            step = Level(widths, attend=level == 1, norm=norm)
            if level < len(multiples):
                step.upsample = Upsample(width, width)
            self.conv_blocks.append(step)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    @property
    def before_norm(self) -> nn.Module:
        """What the norm of the main path follows."""
        last: Any = self.conv_blocks[-1]
        return last.res[-1].conv2

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, latent, h, w) -> (B, 3, 2ⁿh, 2ⁿw) about [-1, 1], n levels less one."""
        x = self.conv_blocks(self.mid(self.conv_in(z)))
        return self.conv_out(F.silu(self.norm_out(x)))
