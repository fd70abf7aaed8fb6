"""N systems on one metric: all pairs, corrected together, with wins, ties and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ...harness.errors import UsageError
from ...harness.tables import Column, columns_of
from ...harness.vocabulary import METRICS
from .pairing import Pair, Plan, tested
from .places import Place, Topic, topic


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs on one metric of one task and dataset."""

    topic: Topic
    names: Sequence[str]
    """Best first."""
    values: Mapping[str, float | None]
    pairs: Sequence[Pair]
    plan: Plan

    def score(self, name: str) -> tuple[int, int, int]:
        """Wins, ties and losses of a system against the others that it can be compared with."""
        mine = [p for p in self.pairs if name in (p.first, p.second) and p.adjusted_p is not None]
        wins = sum(p.winner == name for p in mine)
        ties = sum(p.winner is None for p in mine)
        return wins, ties, len(mine) - wins - ties


def matrices(
    place: Place,
    metrics: Sequence[str] | None = None,
    group: str | None = None,
    plan: Plan | None = None,
) -> list[Matrix]:
    """One matrix per metric: those asked for, else what the task's tables show.

    Raises:
        UsageError: a metric that does not exist.
    """
    asked = [Column.parse(metric) for metric in metrics or ()]
    columns = asked or columns_of(place.task, place.records)
    unknown = [c.metric for c in columns if c.metric not in METRICS]
    if unknown:
        message = f"unknown metrics: {', '.join(unknown)}; known: {', '.join(METRICS)}"
        raise UsageError(message)
    directed = [c for c in columns if c.direction != "none"]
    return [_matrix(topic(place, column, group), plan or Plan()) for column in directed]


def _matrix(about: Topic, plan: Plan) -> Matrix:
    values = {name: m.value if (m := about.metric(name)) else None for name in about.stored}
    sign = -1 if about.column.direction == "higher" else 1
    names = sorted(values, key=lambda n: math.inf if (v := values[n]) is None else sign * v)
    return Matrix(about, names, values, tested(about, list(combinations(names, 2)), plan), plan)
