"""Windowed means and (co)variances of image planes, by shifted multiply-adds.

SSIM and MS-SSIM need five local moments, but the two variances only occur as a sum, so four
filtered maps do: the two means, the mean of x² + y² and the mean of x·y. The windows are
separable and symmetric; adding shifted copies of a plane, with equal taps paired, beats a
depthwise convolution several times over on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LocalMoments:
    """Moments under the window at each position where it lies inside the plane, (..., h, w).

    Attributes:
        mean_x: mean of x.
        mean_y: mean of y.
        variances: population variance of x plus that of y.
        covariance: population covariance of x and y.
    """

    mean_x: Tensor
    mean_y: Tensor
    variances: Tensor
    covariance: Tensor


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


def local_moments(x: Tensor, y: Tensor, window: tuple[float, ...]) -> LocalMoments:
    """Moments of two stacks of planes (..., H, W), values in 0..255, under one window."""
    # (Co)variances do not change with an offset, and float32 squares keep more digits near zero:
    # a white area with faint noise is otherwise wrong in the fifth decimal of SSIM.
    centre_x, centre_y = x.mean(dim=(-2, -1), keepdim=True), y.mean(dim=(-2, -1), keepdim=True)
    x, y = x - centre_x, y - centre_y
    mean_x, mean_y = filter_valid(x, window), filter_valid(y, window)
    # Plain products and sums, none fused: for x = y the variances are exactly twice the covariance,
    # and a copy scores exactly 1.
    covariance = filter_valid(x * y, window).sub_(mean_x * mean_y)
    variances = filter_valid((x * x).add_(y * y), window)
    variances.sub_((mean_x * mean_x).add_(mean_y * mean_y))
    return LocalMoments(mean_x.add_(centre_x), mean_y.add_(centre_y), variances, covariance)
