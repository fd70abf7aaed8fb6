"""The trainable heads of MedITok's discriminator, on the tokens of a frozen vision transformer.

One head a layer; no spectral norm (Ma et al. 2025, arXiv:2505.19225; the design is StyleGAN-T's).
Shapes: B images, C channels of the backbone, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from ..harness.errors import UsageError

Norm = Literal["gn", "bn"]

_GROUP_IMAGES = 8
"""Images whose statistics a batch norm takes together, as upstream."""


class VirtualBatchNorm(nn.Module):
    """Batch statistics over groups of images, in training and in evaluation alike.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, N) -> (B, C, N).

        Raises:
            UsageError: the batch cannot be cut into equal groups.
        """
        groups = math.ceil(len(x) / _GROUP_IMAGES)
        if len(x) % groups:
            message = f"{len(x)} images cannot be cut into {groups} equal groups; change the batch"
            raise UsageError(message)
        grouped = x.unflatten(0, (groups, -1))
        mean = grouped.mean(dim=(1, 3), keepdim=True)
        variance = grouped.var(dim=(1, 3), keepdim=True, unbiased=False)
        normal = ((grouped - mean) / (variance + self.eps).sqrt()).flatten(0, 1)
        return normal * self.weight[:, None] + self.bias[:, None]


class _Residual(nn.Module):
    """(f(x) + x) / √2: the variance stays."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.fn(x) + x) / math.sqrt(2)


def _block(channels: int, kernel: int, norm: Norm, eps: float) -> nn.Sequential:
    made = nn.GroupNorm(32, channels, eps) if norm == "gn" else VirtualBatchNorm(channels, eps)
    return nn.Sequential(
        nn.Conv1d(channels, channels, kernel, padding=kernel // 2, padding_mode="circular"),
        made,
        nn.LeakyReLU(0.2),
    )


class DiscriminatorHeads(nn.ModuleList):
    """A head for each layer of the backbone that is looked at.

    Args:
        channels: C.
        heads: number of layers.
        kernel: of the residual convolution along the tokens, odd.
        norm: `gn`, groups of 32 channels; `bn`, statistics over groups of eight images.
        eps: of the norms.

    Raises:
        UsageError: the sizes do not go together.
    """

    def __init__(
        self, channels: int, heads: int, *, kernel: int = 9, norm: Norm = "gn", eps: float = 1e-6
    ) -> None:
        if kernel % 2 != 1 or norm not in {"gn", "bn"} or (norm == "gn" and channels % 32):
            message = (
                "discriminator heads need an odd kernel, norm gn or bn, and for gn channels in "
                f"multiples of 32: got kernel {kernel}, norm {norm!r}, channels {channels}"
            )
            raise UsageError(message)
        super().__init__(
            nn.Sequential(
                _block(channels, 1, norm, eps),
                _Residual(_block(channels, kernel, norm, eps)),
                nn.Conv1d(channels, 1, 1),
            )
            for _ in range(heads)
        )

    def forward(self, activations: Sequence[torch.Tensor]) -> torch.Tensor:
        """One (B, C, N) a head -> logits (B, heads · N), head after head."""
        logits = [head(each).flatten(1) for head, each in zip(self, activations, strict=True)]
        return torch.cat(logits, dim=1)
