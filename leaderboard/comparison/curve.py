"""A metric over the checkpoints of one model: values, changes in words, and an SVG picture."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ...harness.errors import UsageError
from ...harness.tables import Column, Row, text_table
from ...harness.vocabulary import METRICS
from .pairing import Pair, Plan, tested
from .places import Place, Topic, topic
from .report import closing, difference_cells, pair_facts, topic_facts, value_cell, words

_WIDTH, _HEIGHT, _MARGIN = 640, 360, 64
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint: its label, its step where the label names one, its value and interval."""

    label: str
    step: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of one task and dataset over checkpoints, in the order of their steps.

    Attributes:
        topic: the metric, and each checkpoint's record.
        points: by step.
        steps: whether the labels name steps; otherwise the points are numbered as given.
        changes: each point minus the one before; p values are corrected over them.
        whole: the last point minus the first, a test of its own; None of two points.
        plan: what power is stated for.
    """

    topic: Topic
    points: Sequence[Point]
    steps: bool
    changes: Sequence[Pair]
    whole: Pair | None
    plan: Plan


def curve(place: Place, metric: str, group: str | None = None, plan: Plan | None = None) -> Curve:
    """The values of one metric over the systems of a place, and what changed between them.

    A label such as `meditok@step-2000` or `meditok@2k` gives the step by its last number.

    Raises:
        UsageError: unknown metric, or fewer than two systems with a value.
    """
    column = Column.parse(metric)
    if column.metric not in METRICS:
        message = f"unknown metric {column.metric!r}; known: {', '.join(METRICS)}"
        raise UsageError(message)
    about, plan = topic(place, column, group), plan or Plan()
    found = {name: m for name in about.stored if (m := about.metric(name)) is not None}
    if len(found) < 2:
        message = f"a curve of {metric} needs two checkpoints with a value, got {len(found)}"
        raise UsageError(message)
    numbers = {name: _step(name) for name in found}
    steps = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    points = [
        Point(name, number if steps and number is not None else order, m.value, m.low, m.high)
        for order, ((name, m), number) in enumerate(
            zip(found.items(), numbers.values(), strict=True), 1
        )
        if m.value is not None
    ]
    points.sort(key=lambda point: point.step)
    names = [point.label for point in points]
    changes = tested(about, list(zip(names[1:], names, strict=False)), plan)
    (whole,) = tested(about, [(names[-1], names[0])], plan) if len(names) > 2 else [None]
    return Curve(about, points, steps, changes, whole, plan)


def _step(name: str) -> float | None:
    label = name.partition(" (")[0].rpartition("@")[2]
    found = re.findall(r"(\d+(?:\.\d+)?)([kKM]?)", label)
    if not found:
        return None
    number, unit = found[-1]
    return float(number) * {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}[unit]


def curve_table(line: Curve) -> str:
    """The curve as text: values, changes, and a sentence for each change."""
    about = line.topic
    rows: list[Row] = []
    for point, change in zip(line.points, [None, *line.changes], strict=True):
        ends = [value_cell(about, end) for end in (point.low, point.high)]
        cells = {} if change is None else difference_cells(about, change)
        rows.append(
            {
                "tokenizer": about.label(point.label),
                "step": f"{point.step:g}",
                "value": value_cell(about, point.value),
                "95 %": "–" if "–" in ends else " … ".join(ends),
                "change": cells.get("difference", "–"),
                "95 % of change": cells.get("95 %", "–"),
                "corrected p": cells.get("corrected p", "–"),
            }
        )
    lines = [about.title, text_table(rows), ""]
    lines += [f"- {words(about, change, line.plan)}" for change in line.changes]
    if line.whole is not None:
        lines.append(
            f"- First to last (a test of its own, at 5 %): {words(about, line.whole, line.plan)}"
        )
    return "\n".join([*lines, *closing(line.changes, about.notes, line.plan)])


def curve_facts(line: Curve) -> dict[str, Any]:
    """The curve, JSON-able."""
    whole = line.whole and pair_facts(line.topic, line.whole, line.plan)
    return {
        **topic_facts(line.topic),
        "steps": line.steps,
        "points": [asdict(point) for point in line.points],
        "changes": [pair_facts(line.topic, change, line.plan) for change in line.changes],
        "whole": whole,
    }


def curve_svg(line: Curve) -> str:
    """The curve as a picture with its intervals; the same curve gives the same bytes."""
    x0, x1 = line.points[0].step, line.points[-1].step
    ends = [e for p in line.points for e in (p.value, p.low, p.high) if e is not None]
    y0, y1 = min(ends), max(ends)
    room = (y1 - y0) * 0.05 or abs(y1) * 0.05 or 1.0
    y0, y1 = y0 - room, y1 + room

    def place(x: float, y: float) -> tuple[str, str]:
        across = _MARGIN + (x - x0) / (x1 - x0) * (_WIDTH - 2 * _MARGIN)
        down = _HEIGHT - _MARGIN - (y - y0) / (y1 - y0) * (_HEIGHT - 2 * _MARGIN)
        return f"{across:.1f}", f"{down:.1f}"

    title = escape(line.topic.title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{title}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2:g}" y="24" text-anchor="middle" font-size="14">{title}</text>',
    ]
    digits = METRICS[line.topic.column.metric].digits
    for number in range(_TICKS):
        level = y0 + (y1 - y0) * number / (_TICKS - 1)
        left, down = place(x0, level)
        right, _ = place(x1, level)
        parts.append(
            f'<line x1="{left}" y1="{down}" x2="{right}" y2="{down}" stroke="#ddd"/>'
            f'<text x="{_MARGIN - 8}" y="{down}" text-anchor="end" '
            f'dominant-baseline="middle">{level:.{digits}f}</text>'
        )
    path = " ".join(",".join(place(p.step, p.value)) for p in line.points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#1f4e9c" stroke-width="2"/>')
    parts += [_mark(point, place) for point in line.points]
    parts += [
        f'<text x="{place(p.step, y0)[0]}" y="{_HEIGHT - _MARGIN + 20}" '
        f'text-anchor="middle">{p.step:g}</text>'
        for p in _spaced(line.points)
    ]
    axis = "step" if line.steps else "checkpoint, in the order given"
    parts.append(
        f'<text x="{_WIDTH / 2:g}" y="{_HEIGHT - 16}" text-anchor="middle">{axis}</text></svg>\n'
    )
    return "\n".join(parts)


def _mark(point: Point, place: Callable[[float, float], tuple[str, str]]) -> str:
    x, y = place(point.step, point.value)
    mark = f'<circle cx="{x}" cy="{y}" r="4" fill="#1f4e9c"><title>{escape(point.label)}</title>'
    if point.low is None or point.high is None:
        return mark + "</circle>"
    _, low = place(point.step, point.low)
    _, high = place(point.step, point.high)
    bar = f'<line x1="{x}" y1="{low}" x2="{x}" y2="{high}" stroke="#1f4e9c"/>'
    return bar + mark + "</circle>"


def _spaced(points: Sequence[Point]) -> Sequence[Point]:
    """At most ten labels on the axis."""
    return points[:: max(1, math.ceil(len(points) / 10))]
