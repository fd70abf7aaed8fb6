"""One value as a table shows it: text, half interval, and the words behind it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...harness.record import Metric, Record
from ...harness.tables import Column
from ...harness.vocabulary import MACRO, METRICS, POOLED

_PLAIN_BELOW = 1e6
"""Larger magnitudes are written with an exponent, so that no value breaks a table."""


class Value(NamedTuple):
    """A stored value; `text` is it, rounded to the digits that the vocabulary fixes.

    A named tuple, since a large site makes a million of them.
    """

    text: str
    spread: str = ""
    """`±0.18`, or empty where no interval is stored."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    """Interval and count in words, or why the value is absent."""


ABSENT = Value("–", note="not measured")

Values = dict[tuple[str, str, str], Value]
"""By metric, setting and group."""


def number(value: float, digits: int) -> str:
    """`31.42`; with an exponent from a million on."""
    return _number(value, f".{digits}f")


def values_of(record: Record) -> Values:
    """Every value of a record as tables show it."""
    return {(m.name, m.setting, m.group): _value_of(m) for m in record.metrics}


def overall(values: Values, column: Column) -> Value:
    """The macro value where it exists, else the pooled one."""
    macro = values.get((column.metric, column.setting, MACRO), ABSENT)
    if macro.value is not None:
        return macro
    return values.get((column.metric, column.setting, POOLED), ABSENT)


_FORMATS = {name: f".{facts.digits}f" for name, facts in METRICS.items()}


def _value_of(metric: Metric) -> Value:
    value, low, high = metric.value, metric.low, metric.high
    if value is None:
        return Value("–", note=f"absent: {metric.reason}")
    digits = _FORMATS[metric.name]
    spread, note = "", f"no interval; n = {metric.n}"
    if low is not None and high is not None:
        spread = f"±{_number((high - low) / 2, digits)}"
        ends = f"{_number(low, digits)} to {_number(high, digits)}"
        note = f"95 % interval {ends}; n = {metric.n}"
    if metric.flags:
        note += "; " + ", ".join(metric.flags)
    return Value(_number(value, digits), spread, value, low, high, note)


def _number(value: float, digits: str) -> str:
    if -_PLAIN_BELOW < value < _PLAIN_BELOW:
        return format(value, digits)
    return f"{value:.2e}" if math.isfinite(value) else "beyond range"
