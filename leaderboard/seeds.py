"""Values over the sampling seeds of one generator: what their ± is, and their deviation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..harness.record import Metric, Record
from ..harness.statistics.paired import t_quantile
from ..harness.tables import Column, Row
from ..harness.vocabulary import METRICS

RUNS = 50
"""Fewer replicates than this are runs with seeds, not resamples."""


def _runs(metric: Metric | None) -> int:
    """Number of seeds behind a value; 0 where it is not of seeds."""
    count = len(metric.replicates) if metric is not None and metric.replicates else 0
    return count if 1 < count < RUNS else 0


def seed_note(records: Iterable[Record]) -> str:
    """What ± is in a table of generated images; empty of others."""
    counts = sorted({_runs(metric) for record in records for metric in record.metrics} - {0})
    if not counts:
        return ""
    halves = ", ".join(f"{t_quantile(n - 1) / math.sqrt(n):.2f}" for n in counts)
    return (
        "± is half of Student's 95 % interval of the mean over "
        f"{', '.join(map(str, counts))} sampling seeds of one generator: {halves} times their "
        "standard deviation. Values without ± are of real images or reconstructions, which have "
        "no seeds"
    )


def deviation_rows(records: Sequence[Record], columns: Sequence[Column]) -> list[Row]:
    """One row per record: the number of seeds, and each metric's standard deviation (n - 1)."""
    drawn = [c for c in columns if any(_runs(c.overall(record)) for record in records)]
    rows = []
    for record in records:
        found = {column: column.overall(record) for column in drawn}
        row = {
            "tokenizer": record.full_name,
            "seeds": str(max(map(_runs, found.values())) or "–"),
        }
        for column, metric in found.items():
            row[column.heading.rstrip(" ↑↓")] = _deviation(metric)
        rows.append(row)
    return rows


def _deviation(metric: Metric | None) -> str:
    if metric is None or not _runs(metric):
        return "–"
    return f"{np.std(metric.replicates or (), ddof=1):.{METRICS[metric.name].digits}f}"
