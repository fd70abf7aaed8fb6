"""The gate itself: findings against the baseline and the release, corrected and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...harness.errors import UsageError
from ...harness.record_files import Stored
from ...harness.statistics.multiplicity import holm
from ...harness.tables import Column
from .cells import match_cells
from .evidence import Finding, gather
from .policy import Policy


@dataclass(frozen=True, slots=True)
class Comparison:
    """The new results against one reference."""

    against: str
    """`baseline` or `release`."""
    findings: list[Finding]
    notes: list[str]

    @property
    def worse(self) -> list[Finding]:
        """What got worse, the largest loss in standard errors first."""
        bad = [finding for finding in self.findings if finding.worse]
        return sorted(bad, key=lambda f: (f.adjusted_p, -f.loss))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says."""

    policy: Policy
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing got worse."""
        return not any(comparison.worse for comparison in self.comparisons)


def judge(
    new: Sequence[Stored],
    baseline: Sequence[Stored],
    policy: Policy,
    *,
    release: Sequence[Stored] | None = None,
    repeats: Sequence[Stored] = (),
) -> Verdict:
    """Compare new results with the baseline, and with the last release where it is given.

    A metric is worse where its loss is above the minimum effect and its one-sided p, corrected by
    Holm over all metrics and cells of the comparison, is at most the policy's `alpha`.

    Args:
        new: the records to judge.
        baseline: what they are compared with.
        policy: what is looked at.
        release: the last release's records, so that a slow drift is caught.
        repeats: further measurements of the baseline, from which noise is measured.

    Raises:
        UsageError: other protocols or device classes, missing cells, or no metric to compare.
    """
    comparisons = [_compare("baseline", new, baseline, repeats, policy)]
    if release is not None:
        comparisons.append(_compare("release", new, release, repeats, policy))
    return Verdict(policy, comparisons)


def _compare(
    against: str,
    new: Sequence[Stored],
    old: Sequence[Stored],
    repeats: Sequence[Stored],
    policy: Policy,
) -> Comparison:
    matching = match_cells(old, new, repeats, policy)
    evidence = [gather(pair, policy) for pair in matching.pairs]
    findings = [finding for each in evidence for finding in each.findings]
    notes = [*matching.notes, *(note for each in evidence for note in each.notes)]
    refused = [reason for each in evidence for reason in each.refused]
    found = {Column(finding.metric, finding.setting) for finding in findings}
    if policy.metrics is not None:
        absent = [column for column in policy.columns() if column not in found]
        refused += [f"{c.heading}: the policy names it, no cell has it" for c in absent]
    if refused:
        raise UsageError(f"not comparable with the {against}:\n" + _listed(refused))
    if not findings:
        message = f"no metric could be compared with the {against}:\n{_listed(notes)}"
        raise UsageError(message)
    adjusted = holm([finding.p for finding in findings])
    judged = [
        replace(
            finding,
            adjusted_p=p,
            worse=p <= policy.alpha and finding.loss > finding.minimum_effect,
        )
        for finding, p in zip(findings, adjusted, strict=True)
    ]
    return Comparison(against, judged, notes)


def _listed(reasons: Sequence[str]) -> str:
    return "\n".join(f"- {reason}" for reason in reasons)
