"""A comparison in words, as tables, and as facts for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...harness.tables import Row, text_table
from ...harness.vocabulary import METRICS
from ..pairs import SEEDS, Difference
from .matrix import Matrix
from .pairing import Pair, Plan
from .places import Topic


def text_report(matrices: Sequence[Matrix]) -> str:
    """What `medbench compare` prints; a note that holds for several metrics is said once."""
    said: set[str] = set()
    sections = []
    for matrix in matrices:
        new = [note for note in matrix.topic.notes if note not in said]
        said.update(new)
        sections.append(_section(matrix, new))
    return "\n\n".join(sections)


def _section(matrix: Matrix, notes: Sequence[str]) -> str:
    topic = matrix.topic
    lines = [topic.title, text_table([_row(matrix, name) for name in matrix.names])]
    if len(matrix.pairs) > 1:
        rows: list[Row] = [
            {
                "tokenizer": topic.label(pair.first),
                "minus": topic.label(pair.second),
                **difference_cells(topic, pair),
                "by": pair.difference.method or "–",
            }
            for pair in matrix.pairs
        ]
        lines += ["", text_table(rows)]
    lines += ["", *(f"- {words(topic, pair, matrix.plan)}" for pair in matrix.pairs)]
    lines += closing(matrix.pairs, notes, matrix.plan)
    return "\n".join(lines)


def closing(pairs: Sequence[Pair], notes: Sequence[str], plan: Plan) -> list[str]:
    """The power and level of what is said of numbers of images, and notes."""
    lines = [f"Note: {note}." for note in notes]
    if any(pair.needed or pair.planned for pair in pairs):
        level = f"the level is {level_text(pairs[0])}"
        if pairs[0].tests > 1:
            level += (
                f", 5 % shared by {pairs[0].tests} tests (the strictest step of Holm's correction)"
            )
        lines.append(f"Numbers needed are for {100 * plan.power:g} % power; {level}.")
    return ["", *lines] if lines else []


def level_text(pair: Pair) -> str:
    """`5 %`, `1.7 %`."""
    return f"{100 * pair.level:.2g} %"


def _row(matrix: Matrix, name: str) -> Row:
    wins, ties, losses = matrix.score(name)
    return {
        "tokenizer": matrix.topic.label(name),
        "value": value_cell(matrix.topic, matrix.values[name]),
        "wins": str(wins),
        "ties": str(ties),
        "losses": str(losses),
    }


def value_cell(topic: Topic, value: float | None) -> str:
    """A value with the metric's digits."""
    return "–" if value is None else f"{value:.{METRICS[topic.column.metric].digits}f}"


def difference_cells(topic: Topic, pair: Pair) -> Row:
    """Difference, interval and p of a pair, as cells of a table."""
    found, digits = pair.difference, METRICS[topic.column.metric].digits
    shown = {"difference": "–", "95 %": "–", "corrected p": "–"}
    if found.value is not None:
        shown["difference"] = f"{found.value:+.{digits}f}"
    if found.low is not None and found.high is not None:
        shown["95 %"] = f"{found.low:+.{digits}f} … {found.high:+.{digits}f}"
    if pair.adjusted_p is not None:
        shown["corrected p"] = f"{pair.adjusted_p:.2g}"
    return shown


def words(topic: Topic, pair: Pair, plan: Plan) -> str:
    """What may be said of two systems, and what may not."""
    found = pair.difference
    first, second = topic.label(pair.first), topic.label(pair.second)
    if found.value is None or found.reason is not None:
        return f"{first} and {second} cannot be compared: {found.reason}."
    size, basis = _size(topic, abs(found.value)), _basis(topic, found)
    if found.value == 0:
        text = f"{first} and {second} are equal on these {basis}."
    elif pair.distinguishable:
        text = (
            f"{first} is {_verdict(found)} than {second} by {size} (corrected p "
            f"{pair.adjusted_p:.2g}, {basis})."
        )
    else:
        text = (
            f"{first} and {second} are not distinguishable: {size} apart, corrected p "
            f"{pair.adjusted_p:.2g} on {basis}.{_hindsight(topic, pair)}"
        )
    if found.mcnemar_p is not None:
        text += f" McNemar's p: {found.mcnemar_p:.2g}."
    if found.method == "separate intervals":
        text += (
            " The two were not paired, since replicates or rows are missing: the interval is wider "
            "than need be."
        )
    return text + _foresight(topic, pair, plan)


def _verdict(found: Difference) -> str:
    if found.better is None:
        return "higher" if (found.value or 0) > 0 else "lower"
    return "better" if found.better == "first" else "worse"


def _size(topic: Topic, value: float) -> str:
    facts = METRICS[topic.column.metric]
    # A difference below the digits of the table is not nothing.
    number = f"{value:.{facts.digits}f}" if value >= 10**-facts.digits else f"{value:.2g}"
    return f"{number} {facts.unit}".rstrip()


def _basis(topic: Topic, found: Difference) -> str:
    text = f"{found.n} {topic.counted}"
    if 0 < found.units < found.n:
        text += f" of {found.units} {topic.units}"
    return f"{found.count} seeds of {text} each" if found.method == SEEDS else text


def _unit(topic: Topic, found: Difference) -> str:
    return "seeds" if found.method == SEEDS else topic.counted


def _number(topic: Topic, found: Difference, count: int) -> str:
    """`40 images`, `40 images of 8 patients`, `12 seeds`."""
    text = f"{count:,} {_unit(topic, found)}"
    if 0 < found.units < found.n:
        text += f" of {round(count * found.units / found.n):,} {topic.units}"
    return text


def _hindsight(topic: Topic, pair: Pair) -> str:
    """What the images at hand could have shown, and how many the difference seen would take."""
    found = pair.difference
    if pair.needed is None:
        return ""
    if pair.resolution is None:
        units = topic.units if found.units < found.n else topic.counted
        here = f" {found.units} {units} are too few for any difference at {level_text(pair)}"
    else:
        size = _size(topic, pair.resolution)
        here = f" These {_unit(topic, found)} tell differences from {size} on"
    return f"{here}; the one seen needs about {_number(topic, found, pair.needed)}."


def _foresight(topic: Topic, pair: Pair, plan: Plan) -> str:
    """How many images a planned comparison takes; empty where none is planned."""
    if plan.difference is None:
        return ""
    found, size = pair.difference, _size(topic, plan.difference)
    if pair.planned is None:
        return f" What would tell {size} cannot be said: the spread of the difference is not known."
    return f" To tell {size}, about {_number(topic, found, pair.planned)} are needed."


def facts(matrices: Sequence[Matrix]) -> list[dict[str, Any]]:
    """The comparison, JSON-able."""
    return [
        {
            **topic_facts(matrix.topic),
            "values": dict(matrix.values),
            "scores": {
                name: dict(zip(("wins", "ties", "losses"), matrix.score(name), strict=True))
                for name in matrix.names
            },
            "pairs": [pair_facts(matrix.topic, pair, matrix.plan) for pair in matrix.pairs],
        }
        for matrix in matrices
    ]


def topic_facts(topic: Topic) -> dict[str, Any]:
    """What was compared on what, JSON-able."""
    records = {name: stored.record for name, stored in topic.stored.items()}
    return {
        "task": topic.place.task,
        "dataset": topic.place.dataset,
        "metric": topic.column.metric,
        "setting": topic.column.setting,
        "group": topic.group,
        "statuses": {name: record.status for name, record in records.items()},
        "records": {name: record.identity.key8 for name, record in records.items()},
        "notes": list(topic.notes),
    }


def pair_facts(topic: Topic, pair: Pair, plan: Plan) -> dict[str, Any]:
    """A pair, JSON-able."""
    found = asdict(pair.difference)
    wanted = ("value", "low", "high", "p", "n", "units", "standard_error", "method", "mcnemar_p")
    return {
        "first": pair.first,
        "second": pair.second,
        **{name: found[name] for name in (*wanted, "reason")},
        "adjusted_p": pair.adjusted_p,
        "distinguishable": pair.distinguishable,
        "winner": pair.winner,
        "power": plan.power,
        "level": pair.level,
        "counted": _unit(topic, pair.difference),
        "resolution": pair.resolution,
        "needed": pair.needed,
        "planned_difference": plan.difference,
        "planned": pair.planned,
        "words": words(topic, pair, plan),
    }
