"""What the rows of generated images give again: a value by sampling seed, as the task makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..harness.record import Metric, Record
from ..harness.vocabulary import POOLED
from ..tasks.synthesis.scores import Scores, Value
from .paired_rows import texts

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

METRICS = frozenset({"class_accuracy", "nearest_training"})
"""Of samples, one by one; the others are of sets."""


def sample_metrics(record: Record, rows: pd.DataFrame, metric: str) -> list[Metric]:
    """A metric of samples with its intervals and each seed's value, from rows alone.

    Args:
        record: whose definitions and classes they are.
        rows: of its samples; ids begin with the seed.
        metric: one of `METRICS`.

    Returns:
        The groups that rows give. Distances of all classes together have a scale of their own,
        which is in no row.
    """
    scores = _scores(rows, metric)
    if scores is None:
        return []
    groups = _texts(rows, "group")
    seeds = np.array([name.partition("/")[0] for name in _texts(rows, "id").tolist()])

    def value(chosen: NDArray[np.bool_]) -> Value | str:
        counted = chosen & ~np.isnan(scores)
        drawn = [scores[counted & (seeds == seed)] for seed in dict.fromkeys(seeds.tolist())]
        if not all(map(len, drawn)):
            return "no rows of a seed"
        return Value(tuple(float(each.mean()) for each in drawn), len(drawn[0]))

    classes = list(dict.fromkeys(groups.tolist()))
    found = {name: value(groups == name) for name in classes}
    if metric == "class_accuracy":
        found[POOLED] = value(np.ones(len(rows), bool))
    definition = next(m.definition for m in record.metrics if m.name == metric)
    made = Scores({metric: record.definitions[definition]}, classes, record.dataset.macro)
    try:
        made.add(metric, found)
    except ValueError:  # out of the metric's range, so no rows of it
        return []
    return [each for each in made.metrics if each.value is not None]


def _scores(rows: pd.DataFrame, metric: str) -> NDArray[np.float64] | None:
    """A score for each row; NaN where a sample was not compared."""
    if metric == "class_accuracy":
        return (_texts(rows, "named") == _texts(rows, "group")).astype(np.float64)
    if metric not in rows or rows[metric].dtype.kind != "f":
        return None
    scores = rows[metric].to_numpy(np.float64)
    return None if np.isinf(scores).any() else scores


def _texts(rows: pd.DataFrame, column: str) -> NDArray[np.str_]:
    return np.array(texts(rows, column, np.ones(len(rows), bool)))
