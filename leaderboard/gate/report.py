"""A verdict as text, as Markdown for a job summary, and as facts for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...harness.tables import Column, Row, markdown_table, text_table
from ...harness.vocabulary import METRICS
from .evidence import Finding
from .verdict import Comparison, Verdict

_SHOWN = 12


def text_report(verdict: Verdict) -> str:
    """What the gate prints."""
    parts = [_one(comparison, markdown=False) for comparison in verdict.comparisons]
    return "\n\n".join([*parts, _sentence(verdict)])


def markdown_report(verdict: Verdict) -> str:
    """What a job summary or a pull-request comment shows."""
    word = "passed" if verdict.passed else "failed"
    parts = [_one(comparison, markdown=True) for comparison in verdict.comparisons]
    return "\n\n".join([f"## medbench gate: {word}", _sentence(verdict), *parts]) + "\n"


def facts(verdict: Verdict) -> dict[str, Any]:
    """The verdict, JSON-able."""
    return {
        "passed": verdict.passed,
        "alpha": verdict.policy.alpha,
        "comparisons": [
            {
                "against": comparison.against,
                "worse": len(comparison.worse),
                "findings": [asdict(finding) for finding in comparison.findings],
                "notes": comparison.notes,
            }
            for comparison in verdict.comparisons
        ],
    }


def sentence(finding: Finding) -> str:
    """One loss in words."""
    metric = METRICS[finding.metric]
    unit = f" {metric.unit}" if metric.unit else ""
    digits = metric.digits + 1
    return (
        f"{finding.cell}: {finding.title} went from {finding.before:.{digits}f} to "
        f"{finding.after:.{digits}f}{unit}, worse by {finding.loss:.{digits}f} "
        f"({finding.low:.{digits}f} to {finding.high:.{digits}f}; corrected p "
        f"{finding.adjusted_p:.2g}, minimum effect {finding.minimum_effect:g})"
    )


def _sentence(verdict: Verdict) -> str:
    bad = [f"{len(c.worse)} against the {c.against}" for c in verdict.comparisons if c.worse]
    compared = sum(len(comparison.findings) for comparison in verdict.comparisons)
    if bad:
        return f"FAILED: worse beyond doubt and beyond the minimum effect: {', '.join(bad)}."
    return (
        f"Passed: none of {compared} comparisons is worse beyond its interval (Holm, "
        f"{verdict.policy.alpha:.2g} over each reference) and beyond its minimum effect."
    )


def _one(comparison: Comparison, *, markdown: bool) -> str:
    ordered = sorted(comparison.findings, key=lambda f: (not f.worse, f.adjusted_p, f.p))
    rows = [_row(finding) for finding in ordered[:_SHOWN]]
    left = len(ordered) - len(rows)
    title = f"against the {comparison.against}: {len(comparison.findings)} comparisons"
    lines = [f"### {title}" if markdown else title]
    lines.append(markdown_table(rows) if markdown else text_table(rows))
    if left:
        lines.append(f"and {left} more, none of them nearer to a loss (all are in --json)")
    lines += [f"- {sentence(finding)}" for finding in comparison.worse]
    lines += [f"- {note}" for note in comparison.notes]
    return "\n\n".join(lines) if markdown else "\n".join(lines)


def _row(finding: Finding) -> Row:
    digits = METRICS[finding.metric].digits + 1
    return {
        "verdict": "WORSE" if finding.worse else "ok",
        "cell": finding.cell,
        "metric": Column(finding.metric, finding.setting).heading,
        "group": finding.group,
        "before": f"{finding.before:.{digits}f}",
        "after": f"{finding.after:.{digits}f}",
        "loss": f"{finding.loss:+.{digits}f}",
        "95 %": f"{finding.low:+.{digits}f} … {finding.high:+.{digits}f}",
        "corrected p": f"{finding.adjusted_p:.2g}",
    }
