"""A comparison in words, as tables, and as facts for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...harness.tables import Row, text_table
from ...harness.vocabulary import METRICS
from .matrix import Matrix, Pair


def text_report(matrices: Sequence[Matrix]) -> str:
    """What `medbench compare` prints."""
    return "\n\n".join(_section(matrix) for matrix in matrices)


def _section(matrix: Matrix) -> str:
    lines = [f"{matrix.task} on {matrix.dataset}: {matrix.column.heading} of {matrix.group}"]
    lines.append(text_table([_row(matrix, name) for name in matrix.names]))
    if len(matrix.pairs) > 1:
        lines.append(text_table([_pair_row(matrix, pair) for pair in matrix.pairs]))
    lines += [f"- {words(matrix, pair)}" for pair in matrix.pairs]
    return "\n".join(lines)


def _row(matrix: Matrix, name: str) -> Row:
    value = matrix.values[name]
    digits = METRICS[matrix.column.metric].digits
    wins, ties, losses = matrix.score(name)
    return {
        "tokenizer": name,
        "value": "–" if value is None else f"{value:.{digits}f}",
        "wins": str(wins),
        "ties": str(ties),
        "losses": str(losses),
    }


def _pair_row(matrix: Matrix, pair: Pair) -> Row:
    found = pair.difference
    digits = METRICS[matrix.column.metric].digits
    shown = {"difference": "–", "95 %": "–", "corrected p": "–"}
    if found.value is not None:
        shown["difference"] = f"{found.value:+.{digits}f}"
    if found.low is not None and found.high is not None:
        shown["95 %"] = f"{found.low:+.{digits}f} … {found.high:+.{digits}f}"
    if pair.adjusted_p is not None:
        shown["corrected p"] = f"{pair.adjusted_p:.2g}"
    return {"tokenizer": pair.first, "minus": pair.second, **shown, "by": found.method or "–"}


def words(matrix: Matrix, pair: Pair) -> str:
    """What may be said of two systems, and what may not."""
    found = pair.difference
    if found.value is None or found.reason is not None:
        return f"{pair.first} and {pair.second} cannot be compared: {found.reason}"
    facts = METRICS[matrix.column.metric]
    digits, unit = facts.digits, f" {facts.unit}" if facts.unit else ""
    mcnemar = "" if found.mcnemar_p is None else f" McNemar's p: {found.mcnemar_p:.2g}."
    size = f"{abs(found.value):.{digits}f}{unit}"
    unpaired = (
        " The two were not paired, since replicates or rows are missing: the interval is wider "
        "than need be."
        if found.method == "separate intervals"
        else ""
    )
    if pair.winner is not None:
        other = pair.second if pair.winner == pair.first else pair.first
        return (
            f"{pair.winner} is better than {other} by {size} (corrected p "
            f"{pair.adjusted_p:.2g}, {found.n} images).{mcnemar}{unpaired}"
        )
    if found.value == 0:
        return f"{pair.first} and {pair.second} are equal on these {found.n} images."
    text = (
        f"{pair.first} and {pair.second} are not distinguishable: {size} apart, corrected p "
        f"{pair.adjusted_p:.2g} on {found.n} images."
    )
    if pair.resolution is not None and pair.images_needed is not None:
        text += (
            f" These images show differences from {pair.resolution:.{digits}f}{unit} on (80 % "
            f"power, one test); for the one seen, about {pair.images_needed:,} are needed."
        )
    return text + mcnemar + unpaired


def facts(matrices: Sequence[Matrix]) -> list[dict[str, Any]]:
    """The comparison, JSON-able."""
    return [
        {
            "task": matrix.task,
            "dataset": matrix.dataset,
            "metric": matrix.column.metric,
            "setting": matrix.column.setting,
            "group": matrix.group,
            "values": dict(matrix.values),
            "scores": {
                name: dict(zip(("wins", "ties", "losses"), matrix.score(name), strict=True))
                for name in matrix.names
            },
            "pairs": [_pair_facts(matrix, pair) for pair in matrix.pairs],
        }
        for matrix in matrices
    ]


def _pair_facts(matrix: Matrix, pair: Pair) -> dict[str, Any]:
    found = asdict(pair.difference)
    wanted = ("value", "low", "high", "p", "n", "standard_error", "method", "mcnemar_p", "reason")
    return {
        "first": pair.first,
        "second": pair.second,
        **{name: found[name] for name in wanted},
        "adjusted_p": pair.adjusted_p,
        "distinguishable": pair.distinguishable,
        "winner": pair.winner,
        "resolution": pair.resolution,
        "images_needed": pair.images_needed,
        "words": words(matrix, pair),
    }
