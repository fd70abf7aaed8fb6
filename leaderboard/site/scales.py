"""Axes: from values to pixels, and the round numbers that label them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MARGIN = 0.06
"""Free share of an axis at either end."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis from `low` to `high` (values) on `start` to `stop` (pixels)."""

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value, held inside the axis."""
        low, high, value = (self._inner(v) for v in (self.low, self.high, value))
        share = (value - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)

    def _inner(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.logarithmic else value

    def ticks(self) -> list[tuple[float, str]]:
        """Round values inside the axis, with their labels."""
        return _log_ticks(self.low, self.high) if self.logarithmic else _ticks(self.low, self.high)


def scale_over(
    values: Sequence[float], start: float, stop: float, *, logarithmic: bool = False
) -> Scale:
    """A scale that holds all values with a margin; equal values get some room."""
    low, high = min(values), max(values)
    if logarithmic:
        ratio = max((high / low) ** _MARGIN, 1.25)
        return Scale(low / ratio, high * ratio, start, stop, logarithmic=True)
    room = (high - low) * _MARGIN or abs(high) * 0.05 or 0.05
    return Scale(low - room, high + room, start, stop)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
    digits = next((d for d in range(12) if abs(round(step, d) - step) < 1e-9 * step), 12)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(index * step, _label(index * step, digits)) for index in range(first, last + 1)]


def _label(value: float, digits: int) -> str:
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    text = f"{value:.{min(digits, 6)}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if high / low < 12 else (1, 2, 5) if high / low < 300 else (1,)
    values = [f * 10.0**d for d in decades for f in steps if low <= f * 10.0**d <= high]
    return [(value, f"{value:g}") for value in values]


def drawable(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest value that a plot can show: far outliers would flatten the rest.

    Outside are values further from the quartiles than 20 times their distance.
    """
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered:
        return 0.0, 0.0
    lower, upper = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    room = 20 * max(upper - lower, 0.05 * max(abs(lower), abs(upper)), 1e-9)
    return lower - room, upper + room
