"""Windows of local statistics, and their means over image planes by shifted multiply-adds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gaussian_window(size: int, sigma: float) -> tuple[float, ...]:
    """One axis of a Gaussian window: `size` (odd) taps that sum to one; `sigma` in pixels."""
    half = size // 2
    taps = [math.exp(-((i - half) ** 2) / (2.0 * sigma**2)) for i in range(size)]
    return tuple(tap / math.fsum(taps) for tap in taps)


def uniform_window(size: int) -> tuple[float, ...]:
    """One axis of a uniform window: `size` (odd) equal taps that sum to one."""
    return (1.0 / size,) * size


def _filter_axis(planes: Tensor, window: tuple[float, ...], axis: int) -> Tensor:
    last = len(window) - 1
    length = planes.shape[axis] - last
    filtered = planes.narrow(axis, last // 2, length) * window[last // 2]
    for tap in range(last // 2):
        pair = planes.narrow(axis, tap, length) + planes.narrow(axis, last - tap, length)
        filtered.add_(pair, alpha=window[tap])
    return filtered


def filter_valid(planes: Tensor, window: tuple[float, ...]) -> Tensor:
    """Weighted mean under a separable symmetric window, without padding.

    Args:
        planes: float (..., H, W).
        window: the odd number S of taps of one axis, symmetric.

    Returns:
        float (..., H - S + 1, W - S + 1).
    """
    return _filter_axis(_filter_axis(planes, window, -1), window, -2)
