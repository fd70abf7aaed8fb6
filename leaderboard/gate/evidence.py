"""How much worse a metric became, and how likely that is without a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...harness.record import Record
from ...harness.statistics.paired import t_quantile, upper_tail
from ...harness.tables import Column
from ...harness.vocabulary import MACRO, METRICS, POOLED
from ..paired_rows import PairedRows, paired_rows
from ..pairs import PER_IMAGE, Difference, paired_difference
from .cells import CellPair
from .policy import Policy

_FEWEST_IMAGES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one group of one cell.

    Attributes:
        cell: task, dataset and tokenizer.
        before: value of the baseline.
        after: new value.
        loss: how much worse, in the metric's unit; negative where it is better.
        low: lower end of the 95 % interval of the loss.
        high: upper end.
        standard_error: of the loss, over images and repeats.
        noise: standard deviation between repeats; 0 where none was seen.
        minimum_effect: losses up to here pass.
        p: one-sided p of "not worse".
        adjusted_p: after Holm's correction over the comparison.
        worse: the verdict.
        method: how the two were compared (see `Difference`).
    """

    cell: str
    metric: str
    group: str
    setting: str
    before: float
    after: float
    loss: float
    low: float
    high: float
    standard_error: float
    noise: float
    minimum_effect: float
    p: float
    n: int
    method: str
    adjusted_p: float = 1.0
    worse: bool = False

    @property
    def title(self) -> str:
        """The metric, its setting and group, as tables say it."""
        return f"{Column(self.metric, self.setting).heading} of {self.group}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found in a pair of cells, what could not be compared, and what must not be."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def gather(pair: CellPair, policy: Policy) -> Evidence:
    """All metrics of a pair of cells that the policy looks at, before Holm's correction."""
    search = _Search(pair, policy, paired_rows(pair.old, pair.new))
    for column in policy.columns():
        for group in _groups(pair, column, policy):
            before = column.of(pair.old.record, group)
            if before is not None and before.value is not None:
                search.look(column, group)
    return search.evidence


@dataclass(frozen=True, slots=True)
class _Search:
    pair: CellPair
    policy: Policy
    rows: PairedRows | None
    evidence: Evidence = field(default_factory=Evidence)

    def look(self, column: Column, group: str) -> None:
        """Compare one metric of one group that the baseline has."""
        what = f"{self.pair.name}: {column.heading} of {group}"
        old, new = self.pair.old, self.pair.new
        after = column.of(new.record, group)
        if after is None or after.value is None:
            reason = after.reason if after is not None else "not in the record"
            refuse = self.policy.missing == "refuse"
            said = self.evidence.refused if refuse else self.evidence.notes
            said.append(f"{what} has no new value: {reason}")
            return
        found = paired_difference(
            old, new, column.metric, group, column.setting, resample=False, rows=self.rows
        )
        if found.value is None:
            self.evidence.refused.append(f"{what}: {found.reason}")
        elif _by_modality(group, self.policy) and found.method != PER_IMAGE:
            # Without pairing, eight more tests cost the others more than they can find.
            return
        elif found.value != 0 and found.standard_error is None:
            reason = found.reason or "one image or patient has no spread"
            self.evidence.notes.append(f"{what}: {reason}")
        else:
            self.evidence.findings.append(_finding(self.pair, column, found, self.policy))


def _by_modality(group: str, policy: Policy) -> bool:
    return policy.groups == "modalities" and group not in (MACRO, POOLED)


def _groups(pair: CellPair, column: Column, policy: Policy) -> Sequence[str]:
    if isinstance(policy.groups, list):
        return policy.groups
    record = pair.old.record
    overall = column.overall(record)
    chosen = [overall.group] if overall is not None else [_default_group(record)]
    if policy.groups == "modalities" and len(record.dataset.groups) > 1:
        chosen += [g for g, n in record.dataset.groups.items() if n >= _FEWEST_IMAGES]
    return chosen


def _default_group(record: Record) -> str:
    return MACRO if record.dataset.macro and len(record.dataset.groups) > 1 else POOLED


def _finding(pair: CellPair, column: Column, found: Difference, policy: Policy) -> Finding:
    old = pair.old.record.metric(column.metric, found.group, column.setting)
    new = pair.new.record.metric(column.metric, found.group, column.setting)
    assert old is not None
    assert new is not None
    assert old.value is not None
    assert new.value is not None
    sign = 1.0 if METRICS[column.metric].direction == "higher" else -1.0
    loss = sign * (old.value - new.value)
    error = found.standard_error or 0.0
    noise = _noise(pair, column, found.group, policy)
    total, degrees = _with_noise(error, found.degrees, noise)
    margin = t_quantile(degrees) * total
    return Finding(
        cell=pair.name,
        metric=column.metric,
        group=found.group,
        setting=column.setting,
        before=old.value,
        after=new.value,
        loss=loss,
        low=loss - margin,
        high=loss + margin,
        standard_error=total,
        noise=noise.deviation,
        minimum_effect=policy.effect(column.metric),
        p=_p(loss, total, degrees),
        n=found.n,
        method=found.method,
    )


@dataclass(frozen=True, slots=True)
class _Noise:
    deviation: float
    degrees: float


def _noise(pair: CellPair, column: Column, group: str, policy: Policy) -> _Noise:
    """Standard deviation between repeats: the policy's, or seen in the baseline's repeats."""
    stated = policy.noise.get(column.metric, 0.0)
    values: dict[str | None, list[float]] = {}
    for repeat in pair.repeats:
        metric = repeat.record.metric(column.metric, group, column.setting)
        if metric is not None and metric.value is not None:
            # Only what has the same weights is a repeat; retrained ones differ in more than noise.
            values.setdefault(repeat.record.info.weights_sha256, []).append(metric.value)
    degrees = sum(len(same) - 1 for same in values.values())
    if degrees == 0:
        return _Noise(stated, math.inf)
    squares = sum(float(((np.array(v) - np.mean(v)) ** 2).sum()) for v in values.values())
    seen = math.sqrt(squares / degrees)
    return _Noise(seen, degrees) if seen > stated else _Noise(stated, math.inf)


def _with_noise(error: float, degrees: float, noise: _Noise) -> tuple[float, float]:
    """Standard error and degrees of freedom with the noise of two single measurements added."""
    images, repeats = error**2, 2 * noise.deviation**2
    total = images + repeats
    spread = images**2 / degrees + repeats**2 / noise.degrees
    return math.sqrt(total), total**2 / spread if spread > 0 else math.inf


def _p(loss: float, error: float, degrees: float) -> float:
    if error == 0:
        return 0.0 if loss > 0 else 1.0
    return upper_tail(loss / error, degrees)
