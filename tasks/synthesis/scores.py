"""From samples of several seeds to metrics: mean and spread over seeds, by class and overall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.record_metric import Metric, metric_of
from ...harness.statistics.paired import t_quantile
from ...harness.vocabulary import MACRO, METRICS

if TYPE_CHECKING:
    from ...harness.record import Definition


@dataclass(frozen=True, slots=True)
class Value:
    """A value of one group.

    Attributes:
        per_seed: one number per sampling seed; a single one for a setting without samples.
        n: images that each of them rests on.
        flags: see `Metric.flags`.
    """

    per_seed: tuple[float, ...]
    n: int
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class Scores:
    """Collects the metrics of one cell.

    Attributes:
        definitions: by metric name.
        classes: names of the groups, in order.
        macro: whether a mean over the classes means something.
        flags: beside every value.
    """

    definitions: Mapping[str, Definition]
    classes: Sequence[str]
    macro: bool
    flags: tuple[str, ...] = ()
    metrics: list[Metric] = field(default_factory=list)

    def add(self, name: str, groups: Mapping[str, Value | str], *, setting: str = "") -> None:
        """Append a metric's groups, and their macro mean; a text is the reason of an absence."""
        for group, value in groups.items():
            self._append(name, group, value, setting)
        if self.macro and len(self.classes) > 1:
            self._append(name, MACRO, self.mean_over_classes(groups), setting)

    def mean_over_classes(self, groups: Mapping[str, Value | str]) -> Value | str:
        """The unweighted mean of the classes, seed by seed; a text where one is absent."""
        values = [groups.get(name, "not measured") for name in self.classes]
        reasons = {c: v for c, v in zip(self.classes, values, strict=True) if isinstance(v, str)}
        present = [v for v in values if not isinstance(v, str)]
        if not present and len(set(reasons.values())) == 1:
            return next(iter(reasons.values()))
        if reasons:
            which = ", ".join(reasons) if present else "all of them"
            return f"no mean over the classes: absent in {which}"
        per_seed = np.mean([value.per_seed for value in present], axis=0)
        flags = dict.fromkeys(flag for value in present for flag in value.flags)
        return Value(tuple(per_seed.tolist()), sum(v.n for v in present), tuple(flags))

    def _append(self, name: str, group: str, value: Value | str, setting: str) -> None:
        absent = isinstance(value, str)
        facts: dict[str, Any] = {"reason": value} if absent else self._found(name, value)
        definition = self.definitions[name]
        self.metrics.append(metric_of(name, group, definition, setting=setting, **facts))

    def _found(self, name: str, value: Value) -> dict[str, Any]:
        """Mean of the seeds with its interval, within the metric's range, and each seed's value."""
        seeds = np.array(value.per_seed)
        count, mean = len(seeds), float(seeds.mean())
        found: dict[str, Any] = {"value": mean, "n": value.n, "flags": [*value.flags, *self.flags]}
        if count > 1:
            spread = float(seeds.std(ddof=1))
            margin = t_quantile(count - 1) * spread / math.sqrt(count)
            legal = METRICS[name]
            found["low"] = max(legal.low, mean - margin)
            found["high"] = min(legal.high, mean + margin)
            found["flags"].insert(0, f"{count} sampling seeds, standard deviation {spread:.3g}")
            # All tokenizers share the seeds, so that they can be compared seed by seed.
            found["replicates"] = value.per_seed
        return found
