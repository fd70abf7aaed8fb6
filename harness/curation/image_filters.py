"""The image filters that look at pixels: minimum side, dynamic range, deviation, palette."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .thresholds import MeditokThresholds

_RANGE_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an image is not kept."""

    reason: str
    detail: str


def reject_image(shown: np.ndarray, thresholds: MeditokThresholds) -> Rejection | None:
    """The first filter that a uint8 image (H, W) or (H, W, 3) does not pass, or None."""
    small = reject_side(shown, thresholds)
    if small is not None:
        return small
    luminance = _luminance(shown)
    low, high = np.percentile(luminance, _RANGE_PERCENTILES)
    if high - low < thresholds.dynamic_range.value:
        return Rejection("dynamic-range", f"{high - low:.1f} < {thresholds.dynamic_range.value:g}")
    deviation = float(luminance.std())
    if deviation < thresholds.standard_deviation.value:
        wanted = thresholds.standard_deviation.value
        return Rejection("standard-deviation", f"{deviation:.2f} < {wanted:g}")
    colours = _colours(shown)
    if colours < thresholds.palette.value:
        return Rejection("palette", f"{colours} colours < {thresholds.palette.value}")
    return None


def reject_side(pixels: np.ndarray, thresholds: MeditokThresholds) -> Rejection | None:
    """The filter of the minimum side alone; it comes before any rule about content."""
    side = min(pixels.shape[:2])
    if side >= thresholds.minimum_side.value:
        return None
    return Rejection("minimum-side", f"{side} < {thresholds.minimum_side.value} pixels")


def _luminance(shown: np.ndarray) -> np.ndarray:
    """float64 (H, W), ITU-R BT.601."""
    if shown.ndim == 2:
        return shown.astype(np.float64)
    return shown.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _colours(shown: np.ndarray) -> int:
    if shown.ndim == 2:
        return len(np.unique(shown))
    packed = shown.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    return len(np.unique(packed))
