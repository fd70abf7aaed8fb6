"""The indices of tokenizers with one codebook on a square grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.protocol import TokenizerInfo


def checked_grid(indices: Tensor, info: TokenizerInfo) -> Tensor:
    """Indices as the protocol has them, int64 (B, 1, L) -> (B, h, h).

    Raises:
        UsageError: dtype, shape or range is wrong.
    """
    name, size, shape = info.full_name, info.codebook_size, tuple(indices.shape)
    if indices.dtype != torch.int64 or indices.ndim != 3 or shape[1] != 1:
        message = f"{name}: indices must be int64 (B, 1, L), got {indices.dtype} {shape}"
        raise UsageError(message)
    side = math.isqrt(shape[2])
    if not shape[0] or not side or side**2 != shape[2]:
        message = f"{name}: L must be the cells of a square grid (h·h) and B at least 1: {shape}"
        raise UsageError(message)
    low, high = (int(value) for value in indices.aminmax())
    if low < 0 or high >= size:
        message = f"{name}: indices must be in 0 to {size - 1}, got {low} to {high}"
        raise UsageError(message)
    return indices.reshape(-1, side, side)
