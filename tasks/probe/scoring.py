"""Scores of one probe on one group's test images, each with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.classification import RankedScores, label_accuracy
from ...harness.statistics.bootstrap import (
    REPLICATES,
    Sample,
    bootstrap_statistics,
    percentile_interval,
)
from ...harness.statistics.intervals import Interval
from ...harness.statistics.proportions import share_interval
from .definitions import MINIMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = np.ndarray
NO_ANSWER = "several labels may hold for an image, so there is no single answer to recall"
"""Why multi-label sets have no balanced accuracy and no worst recall."""


class Scored:
    """Scores (N, C) of images with their truth, as functions of resampled rows."""

    def __init__(self, truth: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        self._truth, self._scores = truth, scores
        self._ranked = RankedScores(truth, scores)
        self._multi_label = truth.ndim == 2
        self.right: NDArray[np.float64] | None = None
        """(N,), 1 where the answer is right, else 0; None for multi-label sets."""
        if not self._multi_label:
            self.right = self._right = (scores.argmax(axis=1) == truth).astype(np.float64)

    def statistic(self, metric: str) -> Callable[[Rows | None], float] | str:
        """A metric as a function of row numbers (None: each image once), or why there is none.

        The function is NaN on rows without an image of some class.
        """
        if self._multi_label and metric in ("bacc", "worst_recall"):
            return NO_ANSWER
        return {
            "map": self._map,
            "auc": self._auc,
            "acc": self._accuracy,
            "bacc": lambda rows: float(self._recalls(rows).mean()),
            "worst_recall": lambda rows: float(self._recalls(rows).min()),
        }[metric]

    def _map(self, rows: Rows | None) -> float:
        return float(self._ranked.average_precisions(rows).mean())

    def _auc(self, rows: Rows | None) -> float:
        try:
            return self._ranked.mean_auc(rows)
        except MetricError:
            return np.nan

    def _accuracy(self, rows: Rows | None) -> float:
        chosen = slice(None) if rows is None else rows
        if self._multi_label:
            return label_accuracy(self._truth[chosen], self._scores[chosen])
        return float(self._right[chosen].mean())

    def _recalls(self, rows: Rows | None) -> NDArray[np.float64]:
        chosen = slice(None) if rows is None else rows
        truth, right = self._truth[chosen], self._right[chosen]
        classes = self._scores.shape[1]
        counts = np.bincount(truth, minlength=classes)
        with np.errstate(invalid="ignore"):
            return np.bincount(truth, weights=right, minlength=classes) / counts


def intervals_of(
    metrics: Sequence[str], several: Sequence[Scored], sample: Sample
) -> dict[str, Interval | str]:
    """Mean of each metric over several probes' scores of the same images, or why there is none.

    One probe: the usual interval over resampled images. Several (of different training subsets):
    the replicates are shared out over them, so that the interval covers the choice of the subset
    as well. A metric whose class a draw may lose (of a multi-label set, or of one patient) has a
    value without interval, and so have `MINIMA`.
    """
    asked = {metric: [scored.statistic(metric) for scored in several] for metric in metrics}
    absent = {metric: why for metric, (why, *_) in asked.items() if isinstance(why, str)}
    present = [metric for metric in metrics if metric not in absent]
    replicates = REPLICATES // len(several)
    found = [
        bootstrap_statistics(statistics, sample, replicates=replicates)
        for place in range(len(several))
        if (statistics := [_statistic(asked[metric][place]) for metric in present])
    ]
    joined = {metric: _joined([one[n] for one in found]) for n, metric in enumerate(present)}
    accuracy = joined.get("acc")
    right = [scored.right for scored in several if scored.right is not None]
    if isinstance(accuracy, Interval) and right:
        joined["acc"] = share_interval(accuracy, np.mean(right, axis=0))
    joined |= {metric: _without_ends(joined[metric]) for metric in MINIMA if metric in joined}
    return {metric: absent[metric] if metric in absent else joined[metric] for metric in metrics}


def _statistic(found: Callable[[Rows | None], float] | str) -> Callable[[Rows | None], float]:
    assert not isinstance(found, str)
    return found


def _joined(found: Sequence[Interval]) -> Interval | str:
    value = float(np.mean([each.value for each in found]))
    if not np.isfinite(value):
        return "a class has no test image"
    first = found[0]
    if any(each.low is None for each in found):
        return Interval(value, None, None, first.count, first.units, np.empty(0))
    replicates = np.concatenate([each.replicates for each in found])
    return percentile_interval(value, replicates, first.count, [first.units])


def _without_ends(found: Interval | str) -> Interval | str:
    if isinstance(found, str):
        return found
    return replace(found, low=None, high=None, replicates=np.empty(0))


def mean_over_groups(parts: Sequence[Interval]) -> Interval:
    """Unweighted mean of the groups' values; replicate r of it is the mean of their replicates r.

    Without ends where a group has none.
    """
    value = float(np.mean([part.value for part in parts]))
    count, units = sum(part.count for part in parts), sum(part.units for part in parts)
    if not all(len(part.replicates) for part in parts):
        return Interval(value, None, None, count, units, np.empty(0))
    replicates = np.mean([part.replicates for part in parts], axis=0)
    return percentile_interval(value, replicates, count, [part.units for part in parts])
