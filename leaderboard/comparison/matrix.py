"""N systems on one metric: all pairs, corrected together, with the power of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ...harness.errors import UsageError
from ...harness.record_files import Stored
from ...harness.statistics.multiplicity import holm
from ...harness.statistics.power import LEVEL, images_needed, resolution
from ...harness.tables import Column, columns_of
from ...harness.vocabulary import METRICS
from ..pairs import Difference, paired_difference


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems on one metric.

    Attributes:
        first: name of the one that the difference is counted from.
        second: name of the other.
        difference: first minus second.
        adjusted_p: Holm's, over all pairs of this metric; None where they are not comparable.
        resolution: the smallest true difference that these images show with 80 % power.
        images_needed: images that would show a difference of the size seen; None where it is
            shown already, or is zero.
    """

    first: str
    second: str
    difference: Difference
    adjusted_p: float | None
    resolution: float | None
    images_needed: int | None

    @property
    def distinguishable(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.adjusted_p is not None and self.adjusted_p < LEVEL

    @property
    def winner(self) -> str | None:
        """The better one where the two are distinguishable."""
        better = self.difference.better if self.distinguishable else None
        return {"first": self.first, "second": self.second}.get(better or "")


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs on one metric of one task and dataset."""

    task: str
    dataset: str
    column: Column
    group: str
    names: Sequence[str]
    """Best first."""
    values: Mapping[str, float | None]
    pairs: Sequence[Pair]

    def score(self, name: str) -> tuple[int, int, int]:
        """Wins, ties and losses of a system against the others that it can be compared with."""
        mine = [p for p in self.pairs if name in (p.first, p.second) and p.adjusted_p is not None]
        wins = sum(p.winner == name for p in mine)
        ties = sum(p.winner is None for p in mine)
        return wins, ties, len(mine) - wins - ties


@dataclass(frozen=True, slots=True)
class Place:
    """The systems measured on one task and dataset."""

    task: str
    dataset: str
    systems: Mapping[str, Stored]


def places(chosen: Mapping[str, Sequence[Stored]]) -> list[Place]:
    """Task and dataset -> the systems that have a record there, at least two.

    Args:
        chosen: records by the name that stands for a system.

    Raises:
        UsageError: fewer than two systems, or none of them measured on the same data.
    """
    if len(chosen) < 2:
        message = f"a comparison needs two systems or more, got {', '.join(chosen) or 'none'}"
        raise UsageError(message)
    found: dict[tuple[str, str, str], dict[str, Stored]] = {}
    for name, records in chosen.items():
        for stored in records:
            data = stored.record.dataset
            place = (stored.record.task, data.id, data.fingerprint)
            # Of several records of a system on the same data the first by path stands for it.
            found.setdefault(place, {}).setdefault(name, stored)
    shared = [Place(t, d, systems) for (t, d, _), systems in found.items() if len(systems) > 1]
    if not shared:
        seen = "; ".join(
            f"{name} on {', '.join(sorted({s.record.dataset.id for s in records}))}"
            for name, records in chosen.items()
        )
        message = f"no two systems were measured on the same images: {seen}"
        raise UsageError(message)
    return sorted(shared, key=lambda place: (place.task, place.dataset))


def matrices(
    place: Place, metrics: Sequence[str] | None = None, group: str | None = None
) -> list[Matrix]:
    """One matrix per metric: those asked for, else what the task's tables show.

    Raises:
        UsageError: a metric that does not exist.
    """
    records = [stored.record for stored in place.systems.values()]
    columns = columns_of(place.task, records) if not metrics else [Column.parse(m) for m in metrics]
    unknown = [c.metric for c in columns if c.metric not in METRICS]
    if unknown:
        message = f"unknown metrics: {', '.join(unknown)}; known: {', '.join(METRICS)}"
        raise UsageError(message)
    directed = [c for c in columns if METRICS[c.metric].direction != "none"]
    return [_matrix(place, column, group) for column in directed]


def _matrix(place: Place, column: Column, group: str | None) -> Matrix:
    if group is None:
        overall = [column.overall(s.record) for s in place.systems.values()]
        group = next((m.group for m in overall if m is not None), "all")
    values: dict[str, float | None] = {}
    for name, stored in place.systems.items():
        metric = column.of(stored.record, group)
        values[name] = metric.value if metric is not None else None
    sign = -1 if METRICS[column.metric].direction == "higher" else 1
    names = sorted(values, key=lambda n: math.inf if (v := values[n]) is None else sign * v)
    found = [
        (one, two, _difference(place, one, two, column, group))
        for one, two in combinations(names, 2)
    ]
    p_values = [d.p for _, _, d in found if d.p is not None]
    adjusted = iter(holm(p_values))
    pairs = [_pair(*each, None if each[2].p is None else next(adjusted)) for each in found]
    return Matrix(place.task, place.dataset, column, group, names, values, pairs)


def _difference(place: Place, one: str, two: str, column: Column, group: str) -> Difference:
    first, second = place.systems[one], place.systems[two]
    return paired_difference(first, second, column.metric, group, column.setting)


def _pair(first: str, second: str, found: Difference, adjusted: float | None) -> Pair:
    if found.standard_error is None or found.value is None or adjusted is None:
        return Pair(first, second, found, adjusted, None, None)
    needed = None
    if adjusted >= LEVEL and found.value != 0:
        needed = images_needed(found.value, standard_error=found.standard_error, count=found.n)
    return Pair(first, second, found, adjusted, resolution(found.standard_error), needed)
