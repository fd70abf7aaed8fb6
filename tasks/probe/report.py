"""From intervals per group to a record's metrics: groups, macro, and the one group as `all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...harness.record_metric import Metric, metric_of
from ...harness.statistics.intervals import Interval
from ...harness.statistics.proportions import mean_of_shares
from ...harness.vocabulary import MACRO, METRICS, POOLED
from .definitions import PAPER, key
from .scoring import mean_over_groups

if TYPE_CHECKING:
    from ...harness.record import Definition
    from ...harness.task import Plan

OPTIMISTIC = "peak on the scored images: optimistic"
CHANCE_AUC = 0.5
_WITH_REPLICATES = " lp-val"
_NO_MACRO = "one probe per group; the data set's card allows no mean over its groups"


class Report:
    """Collects values by setting and metric; `metrics` are what the record takes."""

    def __init__(self, plan: Plan, definitions: Mapping[str, Definition]) -> None:
        self._plan, self._definitions = plan, definitions
        self.metrics: list[Metric] = []

    def add(self, setting: str, metric: str, found: Mapping[str, Interval | str]) -> None:
        """Append one metric of one setting: every group's value (or why it has none), and all."""
        for group, value in found.items():
            self._append(setting, metric, group, value)
        if len(self._plan.groups) == 1:
            self._append(setting, metric, POOLED, next(iter(found.values())), overall=True)
        elif not self._plan.macro:
            self._append(setting, metric, POOLED, _NO_MACRO)
        else:
            self._append(setting, metric, MACRO, _macro(metric, found), overall=True)

    def absent(self, setting: str, metric: str, reason: str) -> None:
        """Append the absence of a setting that the tokenizer does not have."""
        single = len(self._plan.groups) == 1 or not self._plan.macro
        self._append(setting, metric, POOLED if single else MACRO, reason)

    def _append(
        self, setting: str, metric: str, group: str, found: Interval | str, *, overall: bool = False
    ) -> None:
        facts: dict[str, Any] = {"reason": found}
        if isinstance(found, Interval):
            ranked = overall and METRICS[metric].ranked
            keep = ranked and (not setting or setting.endswith(_WITH_REPLICATES))
            facts = {"value": found.value, "low": found.low, "high": found.high, "n": found.count}
            facts["replicates"] = found.replicates if keep else None
        definition = self._definitions[key(metric, setting)]
        flags = [OPTIMISTIC] if setting == PAPER else []
        self.metrics.append(
            metric_of(metric, group, definition, setting=setting, flags=flags, **facts)
        )


def _macro(metric: str, found: Mapping[str, Interval | str]) -> Interval | str:
    missing = {group: why for group, why in found.items() if isinstance(why, str)}
    if not missing:
        parts = [each for each in found.values() if isinstance(each, Interval)]
        mean = mean_over_groups(parts)
        return mean_of_shares(mean, parts) if metric == "acc" else mean
    if len(set(missing.values())) == 1:
        return next(iter(missing.values()))
    return f"no mean over groups without {', '.join(missing)}: {next(iter(missing.values()))}"


def chance_warnings(plan: Plan, metrics: Sequence[Metric]) -> list[str]:
    """A sentence where the overall AUC of the main setting is not resolved from a guess."""
    overall = POOLED if len(plan.groups) == 1 else MACRO
    found = [m for m in metrics if (m.name, m.group, m.setting) == ("auc", overall, "")]
    return [
        f"AUC {metric.value:.3f} is not distinguishable from chance: its interval begins at "
        f"{metric.low:.3f}"
        for metric in found
        if metric.value is not None and metric.low is not None and metric.low <= CHANCE_AUC
    ]
