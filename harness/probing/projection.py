"""`flat-p`: long features made shorter by a fixed signed sum.

Every output is a sum of input features, each multiplied by a sign; which and with which sign is
drawn once, from the two lengths alone. Every input goes into one output, so the cost is a reading
of the input, and inner products between images are kept in expectation over signs.

Source: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009; here a
permutation deals the inputs out evenly, where hashing leaves that to chance.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import UsageError
from ..statistics.draws import DrawStream

if TYPE_CHECKING:
    from torch import Tensor

FLAT_LIMIT = 32_768
"""Longest features that are probed as they are."""

PROJECTED = 16_384
"""Length after projection: that of MedITok's 16 x 16 x 64 grid."""

RULE = "flat-p-1"
"""Name and version of the projection; part of the feature kind's definition."""


def project(features: Tensor, *, size: int = PROJECTED) -> Tensor:
    """Shorten features by the fixed projection of these two lengths.

    Args:
        features: float (B, d).
        size: length of the result, at most d.

    Returns:
        (B, size) of the same type, on the same device.

    Raises:
        UsageError: another shape, or fewer features than `size`.
    """
    if features.ndim != 2 or features.shape[1] < size:
        message = f"projection to {size} features needs (B, {size} or more), got "
        raise UsageError(message + f"{tuple(features.shape)}")
    dims = features.shape[1]
    order, signs = (each.to(features.device) for each in _deal(dims))
    dealt = features[:, order] * signs.to(features.dtype)
    whole = dims // size * size
    sums = dealt[:, :whole].reshape(len(features), -1, size).sum(dim=1)
    sums[:, : dims - whole] += dealt[:, whole:]
    return sums


@lru_cache(maxsize=4)
def _deal(dims: int) -> tuple[Tensor, Tensor]:
    """A permutation, int64 (d,), and signs, float32 (d,)."""
    order, signs = DrawStream(RULE, str(dims), "features").uniform(2, dims)
    permutation = torch.from_numpy(np.argsort(order, kind="stable"))
    return permutation, torch.from_numpy(np.where(signs < 0.5, -1.0, 1.0).astype(np.float32))
