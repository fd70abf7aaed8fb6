"""A record's aggregates, computed again from its per-image rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..harness.errors import MedbenchError
from ..harness.record import Metric
from ..harness.record_files import Stored
from ..harness.statistics.bootstrap import Sample, bootstrap_means
from ..harness.tables import Column
from ..harness.vocabulary import FACET, METRICS
from ..tasks.probe.definitions import PAPER
from . import sample_rows
from .paired_rows import clusters, rows_of_facet, scores_of, texts

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6
"""Relative to the size of the scores: means of float64 rows agree far better."""
_DRAWN_BY_GROUP = "recon"
_REPLICATE_TOLERANCE = 1e-5
"""Replicates are stored with seven digits."""
_OF_CODES = frozenset({"usage", "entropy", "perplexity", "effective_bits_per_pixel"})
"""Their n counts token positions, not images."""


@dataclass(frozen=True, slots=True)
class Again:
    """One value of a record beside the one that its rows give."""

    metric: Metric
    value: float
    low: float | None
    high: float | None
    problem: str | None
    """What differs; None where all agree."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What the rows of a record confirm, and what is wrong."""

    agree: Sequence[Again]
    problems: Sequence[str]
    not_from_rows: Sequence[str]
    """Metrics (of some group) that per-image rows cannot give, such as distances of sets."""


def recompute(stored: Stored) -> Recomputed:
    """Check a record's rows, and every mean that they can give with its interval and replicates."""
    record = stored.record
    problems = row_problems(stored)
    rows = _readable(stored)
    if rows is None:
        return Recomputed([], problems, sorted({m.name for m in record.metrics}))
    found: list[Again] = []
    other: dict[str, None] = {}
    columns = {Column(m.name, m.setting) for m in record.metrics if m.value is not None}
    for column in sorted(columns, key=lambda c: (c.metric, c.setting)):
        means = _means(stored, rows, column) if column.metric in _from_rows(record.task) else None
        for metric in record.metrics:
            if (metric.name, metric.setting) != (column.metric, column.setting):
                continue
            if metric.value is None:
                continue
            again = _again(metric, means, column)
            if again is None:
                other[column.heading] = None
                problems += _beyond_rows(stored, rows, metric)
            else:
                found.append(again)
    problems += [a.problem for a in found if a.problem is not None]
    return Recomputed([a for a in found if a.problem is None], problems, list(other))


def row_problems(stored: Stored) -> list[str]:
    """What is wrong with the Parquet file beside a record: absent, changed, other images."""
    record = stored.record
    if record.per_image is None:
        needs = record.status in ("ok", "partial", "suspect")
        return ["there are no per-image rows, which a submission needs"] if needs else []
    path = stored.rows_path
    if path is None:
        return [f"{record.per_image} is not beside the record"]
    problems: list[str] = []
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != record.per_image_sha256:
        expected = (record.per_image_sha256 or "none")[:12]
        problems.append(f"{path.name}: SHA-256 {digest[:12]}… , the record says {expected}…")
    try:
        rows = stored.rows()
    except MedbenchError as error:
        return [*problems, str(error)]
    if rows is None or not {"id", "group"} <= set(rows):
        return [*problems, f"{path.name}: columns id and group are needed"]
    ids = rows["id"].tolist()
    keys = list(zip(ids, rows["setting"], strict=True)) if "setting" in rows else ids
    if len(set(keys)) < len(keys):
        problems.append(f"{path.name}: {len(keys) - len(set(keys))} images occur twice")
    counts = {str(group): int(n) for group, n in rows["group"].value_counts().items()}
    # Tasks with questions have more rows than images; those with images have as many.
    if len(rows) == record.dataset.n and counts != dict(record.dataset.groups):
        problems.append(f"{path.name}: groups {counts}, the record says {record.dataset.groups}")
    return problems


def _readable(stored: Stored) -> pd.DataFrame | None:
    try:
        rows = stored.rows()
    except MedbenchError:
        return None
    return rows if rows is not None and {"id", "group"} <= set(rows) else None


def _from_rows(task: str) -> frozenset[str]:
    """Metrics that follow from their task's per-image rows."""
    by_name = {
        "recon": frozenset(METRICS),
        "vqa": frozenset({"overall", "closed_accuracy", "open_exact", "open_recall", "open_f1"}),
        "probe": frozenset({"acc"}),
        "synthesis": sample_rows.METRICS,
    }
    return by_name.get(task, frozenset())


@dataclass(frozen=True, slots=True)
class _Means:
    values: dict[str, float]
    intervals: dict[str, tuple[float | None, float | None]]
    replicates: dict[str, np.ndarray]
    counts: dict[str, int]
    size: float


def _means(stored: Stored, rows: pd.DataFrame, column: Column) -> _Means | None:
    if stored.record.task == "synthesis":
        return None if column.setting else _means_of_seeds(stored, rows, column)
    found = scores_of(stored.record.task, rows, column)
    if found is None:
        return None
    kept = ~np.isnan(found)
    scores = found[kept]
    if len(scores) == 0 or not np.isfinite(scores).all():
        return None
    groups = texts(rows, "group", kept)
    sample = Sample(stored.record.dataset.fingerprint, groups, clusters(rows, kept))
    means = bootstrap_means(scores, sample)
    # Other tasks draw within classes or kinds of question; there the values alone are checked.
    drawn = means if stored.record.task == _DRAWN_BY_GROUP else {}
    values = {group: i.value for group, i in means.items()}
    facets = {m.group for m in stored.record.metrics if FACET.fullmatch(m.group)}
    held = {facet: found[rows_of_facet(rows, facet) & kept] for facet in facets}
    held = {facet: part for facet, part in held.items() if len(part)}
    return _Means(
        values | {facet: float(part.mean()) for facet, part in held.items()},
        {group: (i.low, i.high) for group, i in drawn.items()},
        {group: i.replicates for group, i in drawn.items()},
        {g: i.count for g, i in means.items()} | {f: len(part) for f, part in held.items()},
        float(np.abs(scores).max(initial=1e-12)),
    )


def _means_of_seeds(stored: Stored, rows: pd.DataFrame, column: Column) -> _Means:
    found = sample_rows.sample_metrics(stored.record, rows, column.metric)
    values = {m.group: m.value for m in found if m.value is not None}
    return _Means(
        values,
        {m.group: (m.low, m.high) for m in found},
        {m.group: np.asarray(m.replicates) for m in found if m.replicates},
        {m.group: m.n for m in found},
        max(map(abs, values.values()), default=0.0),
    )


def _beyond_rows(stored: Stored, rows: pd.DataFrame, metric: Metric) -> list[str]:
    """Whether a value claims to rest on more images (questions, samples) than there are rows."""
    record = stored.record
    if (record.task, metric.setting) == ("probe", PAPER):
        return []  # scored on images of the validation part too, which have no rows
    most = texts(rows, "group", np.ones(len(rows), bool)).count(metric.group) or len(rows)
    if metric.name in _OF_CODES:
        most *= record.info.positions
    if metric.n <= most:
        return []
    heading = Column(metric.name, metric.setting).heading
    return [f"{heading} of {metric.group}: n is {metric.n:,}, its rows allow {most:,}"]


def _again(metric: Metric, means: _Means | None, column: Column) -> Again | None:
    if means is None or metric.group not in means.values or metric.value is None:
        return None
    value = means.values[metric.group]
    low, high = means.intervals.get(metric.group, (None, None))
    near = TOLERANCE * means.size
    what = f"{column.heading} of {metric.group}"
    problem = None
    if abs(value - metric.value) > near:
        problem = f"{what}: the record says {metric.value:.6g}, its rows give {value:.6g}"
    elif metric.n != means.counts[metric.group]:
        problem = f"{what}: n is {metric.n:,}, its rows give {means.counts[metric.group]:,}"
    elif metric.low is not None and low is not None and abs(low - metric.low) > near:
        problem = f"{what}: interval from {metric.low:.6g}, the rows give {low:.6g}"
    elif metric.high is not None and high is not None and abs(high - metric.high) > near:
        problem = f"{what}: interval to {metric.high:.6g}, the rows give {high:.6g}"
    elif metric.replicates and metric.group in means.replicates:
        drawn = means.replicates[metric.group]
        stored = np.asarray(metric.replicates)
        same = drawn.shape == stored.shape
        if not same or np.abs(drawn - stored).max() > _REPLICATE_TOLERANCE * means.size:
            problem = f"{what}: its replicates are not those of the common draws over its rows"
    return Again(metric, value, low, high, problem)
