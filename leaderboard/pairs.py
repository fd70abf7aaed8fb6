"""Two records side by side: the paired difference of one metric, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..harness.record import Metric, Record
from ..harness.record_files import Stored
from ..harness.statistics.bootstrap import bootstrap_means
from ..harness.statistics.halves import HALVES
from ..harness.statistics.intervals import Z_95
from ..harness.statistics.paired import (
    FLIPS,
    bootstrap_p,
    sign_flip_p,
    t_quantile,
    upper_tail,
)
from ..harness.tables import Column
from .paired_rows import PairedRows, paired_rows
from .seeds import RUNS

LEVEL = 0.05
PER_IMAGE = "per image"
SEEDS = "seeds"
_TAIL = 100 * LEVEL / 2
_SAME = 1e-6
"""Relative; a mean over per-image rows this near to the record's value is that value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second value of a metric on the same images.

    Attributes:
        value: in the metric's unit; None with a `reason` where the two cannot be compared.
        low: lower end of the 95 % interval of the difference.
        high: upper end.
        p: two-sided p of "no difference".
        n: images behind it.
        units: what they are drawn by, patients where known, for rows of both; else 0.
        standard_error: of the difference; `degrees` of freedom belong to it.
        distinguishable: p below 5 %. Among several pairs, correct p first (`holm`).
        better: `first` or `second`, by the metric's direction, whether distinguishable or not;
            None where they are equal or the metric has no direction.
        method: how it was found: `per image` (differences of the same images), `resamples`
            (replicates of common draws), `seeds` (repeated runs with the same seeds) or
            `separate intervals` (not paired: wider than need be).
        mcnemar_p: exact, where each row is right or wrong; takes the rows as independent.
        reason: why the two cannot be compared.
    """

    metric: str
    group: str
    setting: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    units: int = 0
    standard_error: float | None = None
    degrees: float = math.inf
    better: str | None = None
    method: str = ""
    mcnemar_p: float | None = None
    reason: str | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether p is below 5 %."""
        return self.p is not None and self.p < LEVEL

    @property
    def count(self) -> int:
        """What the standard error falls with: seeds where the method is `seeds`, else images."""
        return round(self.degrees) + 1 if self.method == SEEDS else self.n


def paired_difference(
    first: Record | Stored,
    second: Record | Stored,
    metric: str,
    group: str,
    setting: str = "",
    *,
    resample: bool = True,
    rows: PairedRows | None = None,
) -> Difference:
    """The paired difference of a metric, from the best evidence that both sides have.

    Per-image rows are read where `Stored` records are given and have them; records alone are
    compared by their replicates, else by their intervals. Without `resample`, interval and p of
    per-image rows are Student's, which is faster and resolves smaller p than 9,999 sign flips.
    `rows` are those of the two, where the caller has read them already.
    """
    a, b = _record(first), _record(second)
    empty = Difference(metric, group, setting)
    reason = not_comparable(a, b, metric, group, setting)
    if reason is not None:
        return _but(empty, reason=reason)
    one, two = a.metric(metric, group, setting), b.metric(metric, group, setting)
    assert one is not None
    assert two is not None
    assert one.value is not None
    assert two.value is not None
    value = one.value - two.value
    facts = _but(empty, value=value, n=min(one.n, two.n), better=_better(value, one.direction))
    if rows is None and isinstance(first, Stored) and isinstance(second, Stored):
        rows = paired_rows(first, second)
    found = _from_rows(facts, rows, resample) if rows is not None else None
    if found is not None:
        return found
    return _from_replicates(facts, one, two) or _from_intervals(facts, one, two)


def not_comparable(a: Record, b: Record, metric: str, group: str, setting: str = "") -> str | None:
    """Why two records' values of a metric must not be compared; None where they may."""
    if a.task != b.task:
        return f"other tasks: {a.task} and {b.task}"
    if (a.dataset.id, a.dataset.fingerprint) != (b.dataset.id, b.dataset.fingerprint):
        return (
            f"other images: {a.dataset.id} {a.dataset.fingerprint[:8]} and "
            f"{b.dataset.id} {b.dataset.fingerprint[:8]}"
        )
    one, two = a.metric(metric, group, setting), b.metric(metric, group, setting)
    for record, found in ((a, one), (b, two)):
        if found is None:
            return f"{record.full_name} has no {metric} of {group}"
        if found.value is None:
            return f"{record.full_name}: {found.reason}"
    assert one is not None
    assert two is not None
    if one.definition_hash != two.definition_hash:
        return (
            f"other definitions of {metric}: {one.definition} {one.definition_hash} and "
            f"{two.definition} {two.definition_hash}"
        )
    return None


def _record(given: Record | Stored) -> Record:
    return given.record if isinstance(given, Stored) else given


def _but(difference: Difference, **fields: object) -> Difference:
    return replace(difference, **fields)  # type: ignore[arg-type]


def _better(value: float, direction: str) -> str | None:
    if value == 0 or direction == "none":
        return None
    return "first" if (value > 0) == (direction == "higher") else "second"


def _from_rows(facts: Difference, rows: PairedRows, resample: bool) -> Difference | None:
    """From per-image scores; None where the rows do not hold the metric's."""
    scores = rows.scores(Column(facts.metric, facts.setting), facts.group)
    found = scores.means.get(facts.group) if scores is not None else None
    if scores is None or found is None or facts.value is None:
        return None
    if not _near(found.value, facts.value, scores.size):
        return None
    facts = _but(
        facts,
        units=len(found.contributions),
        standard_error=found.standard_error,
        degrees=found.degrees,
        method=PER_IMAGE,
        mcnemar_p=scores.mcnemar_p(facts.group),
    )
    if found.standard_error is not None:
        margin = t_quantile(found.degrees) * found.standard_error
        p = _student_p(found.value, found.standard_error, found.degrees)
        facts = _but(facts, low=found.value - margin, high=found.value + margin, p=p)
    if not resample:
        return facts
    interval = bootstrap_means(scores.differences, scores.sample)[facts.group]
    p = sign_flip_p(found.contributions, fingerprint=rows.fingerprint)
    p = _resolved(p, 1 / (1 + FLIPS), facts.p)
    if interval.low is None:
        return _but(facts, p=p)
    return _but(facts, low=interval.low, high=interval.high, p=p)


def _near(a: float, b: float, size: float) -> bool:
    return abs(a - b) <= _SAME * max(size, 1e-12)


def _from_replicates(facts: Difference, one: Metric, two: Metric) -> Difference | None:
    counts = {len(metric.replicates or ()) for metric in (one, two)}
    if len(counts) > 1 or counts & {0, 1}:
        return None
    drawn = np.asarray(one.replicates) - np.asarray(two.replicates)
    error = float(drawn.std(ddof=1))
    assert facts.value is not None
    degrees = math.inf
    if len(drawn) < RUNS:
        # Values of the same seeds: their mean is the value, and its error Student's.
        degrees, error = len(drawn) - 1, error / math.sqrt(len(drawn))
        margin = t_quantile(degrees) * error
        low, high = facts.value - margin, facts.value + margin
        p = _student_p(facts.value, error, degrees)
    elif len(drawn) == HALVES:
        # Moved to have the value as their mean; few, and their spread is the standard error.
        low, high = facts.value - Z_95 * error, facts.value + Z_95 * error
        p = _student_p(facts.value, error)
    else:
        low, high = (float(end) for end in np.percentile(drawn, [_TAIL, 100 - _TAIL]))
        p = _resolved(bootstrap_p(drawn), 2 / (1 + len(drawn)), _student_p(facts.value, error))
    found = _but(facts, low=low, high=high, p=p, standard_error=error, degrees=degrees)
    return _but(found, method=SEEDS if len(drawn) < RUNS else "resamples")


def _from_intervals(facts: Difference, one: Metric, two: Metric) -> Difference:
    assert facts.value is not None
    widths = [_width(metric) for metric in (one, two)]
    if None in widths:
        if facts.value == 0:
            return _but(facts, p=1.0, method="equal values")
        return _but(facts, reason="no usable intervals: the spread of this value is not known")
    error = math.hypot(*(width for width in widths if width is not None)) / (2 * Z_95)
    return _but(
        facts,
        low=facts.value - Z_95 * error,
        high=facts.value + Z_95 * error,
        p=_student_p(facts.value, error),
        standard_error=error,
        method="separate intervals",
    )


def _width(metric: Metric) -> float | None:
    """Of the interval; None where there is none, or one that says nothing of the value's spread.

    Resamples of scores that are all equal (every answer right) have no width, and a value cut off
    at its bound may lie outside its interval.
    """
    if metric.value is None or metric.low is None or metric.high is None:
        return None
    usable = metric.low <= metric.value <= metric.high and metric.low < metric.high
    return metric.high - metric.low if usable else None


def _resolved(p: float, smallest: float, student: float | None) -> float:
    """Student's p where random patterns or resamples say no more than "this small or smaller".

    Among many pairs, none would otherwise stay below 5 % when corrected.
    """
    return p if p > smallest or student is None else min(p, student)


def _student_p(value: float, error: float, degrees: float = math.inf) -> float:
    if value == 0:
        return 1.0
    return 0.0 if error == 0 else 2 * upper_tail(abs(value) / error, degrees)
