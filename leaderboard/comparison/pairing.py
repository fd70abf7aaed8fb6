"""Pairs of systems on one metric: tested together, with the power of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...harness.errors import UsageError
from ...harness.statistics.multiplicity import holm
from ...harness.statistics.power import LEVEL, POWER, needed, resolution
from ..pairs import Difference, paired_difference
from .places import Topic


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison should be able to show.

    Attributes:
        power: chance to tell a true difference.
        difference: that difference, in the metric's unit; None: only the one seen is planned for.
    """

    power: float = POWER
    difference: float | None = None

    def __post_init__(self) -> None:
        if not 0.5 <= self.power < 1:
            message = f"power {self.power:g} is not from 0.5 to below 1, such as 0.8"
            raise UsageError(message)
        if self.difference is not None and not 0 < self.difference < math.inf:
            message = f"a difference to plan for is above 0, got {self.difference:g}"
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems on one metric.

    Attributes:
        first: name of the one that the difference is counted from.
        second: name of the other.
        difference: first minus second.
        adjusted_p: Holm's, over the pairs tested together; None where they are not comparable.
        tests: how many those are.
        resolution: the smallest true difference that these images (or seeds) tell with the plan's
            power at `level`; None where they tell none at all, or the spread of the difference is
            not known.
        needed: images (or seeds) that would tell a difference of the size seen; None where it is
            told already, is zero, or its spread is not known.
        planned: images (or seeds) that would tell the difference planned for.
    """

    first: str
    second: str
    difference: Difference
    adjusted_p: float | None
    tests: int
    resolution: float | None = None
    needed: int | None = None
    planned: int | None = None

    @property
    def level(self) -> float:
        """At which power is stated: Holm's strictest, which a difference passes for certain."""
        return LEVEL / max(self.tests, 1)

    @property
    def distinguishable(self) -> bool:
        """Whether the corrected p is below 5 %."""
        return self.adjusted_p is not None and self.adjusted_p < LEVEL

    @property
    def winner(self) -> str | None:
        """The better one where the two are distinguishable."""
        better = self.difference.better if self.distinguishable else None
        return {"first": self.first, "second": self.second}.get(better or "")


def tested(topic: Topic, couples: Sequence[tuple[str, str]], plan: Plan) -> list[Pair]:
    """Couples of systems, first minus second, their p values corrected together."""
    column = topic.column
    found = [
        paired_difference(
            topic.stored[one], topic.stored[two], column.metric, topic.group, column.setting
        )
        for one, two in couples
    ]
    p_values = [difference.p for difference in found if difference.p is not None]
    adjusted = iter(holm(p_values))
    return [
        _planned(
            Pair(*couple, each, None if each.p is None else next(adjusted), len(p_values)), plan
        )
        for couple, each in zip(couples, found, strict=True)
    ]


def _planned(pair: Pair, plan: Plan) -> Pair:
    """With what the plan's power takes, where the spread of the difference is known."""
    found = pair.difference
    error = found.standard_error
    if pair.adjusted_p is None or not error or found.value is None:
        return pair
    facts = {"degrees": found.degrees, "level": pair.level, "power": plan.power}
    # Sign flips of fewer units never give a p below the level, however large the difference.
    units = math.floor(2 - math.log2(pair.level)) if found.units else 0
    least = math.ceil(units * found.n / found.units) if found.units else 0

    def enough(difference: float) -> int:
        return max(least, needed(difference, standard_error=error, count=found.count, **facts))

    unseen = not pair.distinguishable and found.value != 0
    return replace(
        pair,
        resolution=resolution(error, **facts) if found.units >= units else None,
        needed=enough(found.value) if unseen else None,
        planned=None if plan.difference is None else enough(plan.difference),
    )
