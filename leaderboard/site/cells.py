"""One value as a table shows it: text, half interval, and the words behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...harness.record import Metric
from ...harness.vocabulary import METRICS

_PLAIN_BELOW = 1e6
"""Larger magnitudes are written with an exponent, so that no value breaks a table."""


@dataclass(frozen=True, slots=True)
class Value:
    """A stored value; `text` is it, rounded to the digits that the vocabulary fixes."""

    text: str
    spread: str = ""
    """`±0.18`, or empty where no interval is stored."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""
    """Interval and count in words, or why the value is absent."""
    flags: tuple[str, ...] = ()


ABSENT = Value("–", note="not measured")


def number(value: float, digits: int) -> str:
    """`31.42`; with an exponent from a million on."""
    if not math.isfinite(value):
        return "beyond range"
    return f"{value:.2e}" if abs(value) >= _PLAIN_BELOW else f"{value:.{digits}f}"


def value_of(metric: Metric | None) -> Value:
    """What a table shows of a metric, or of its absence."""
    if metric is None:
        return ABSENT
    if metric.value is None:
        return Value("–", note=f"absent: {metric.reason}", n=metric.n)
    digits = METRICS[metric.name].digits
    spread, note = "", f"no interval; n = {metric.n}"
    if metric.low is not None and metric.high is not None:
        spread = f"±{number((metric.high - metric.low) / 2, digits)}"
        low, high = number(metric.low, digits), number(metric.high, digits)
        note = f"95 % interval {low} to {high}; n = {metric.n}"
    if metric.flags:
        note += "; " + ", ".join(metric.flags)
    return Value(
        text=number(metric.value, digits),
        spread=spread,
        value=metric.value,
        low=metric.low,
        high=metric.high,
        n=metric.n,
        note=note,
        flags=tuple(metric.flags),
    )
