"""A metric over the checkpoints of one model, as a table and an SVG picture."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ...harness.errors import UsageError
from ...harness.tables import Column, Row, text_table
from ...harness.vocabulary import METRICS
from .matrix import Place

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
    """A metric of one task and dataset over checkpoints, in the order of their steps."""

    task: str
    dataset: str
    column: Column
    group: str
    points: Sequence[Point]
    steps: bool
    """Whether the labels name steps; otherwise the points are numbered as given."""


def curve(place: Place, metric: str, group: str | None = None) -> Curve:
    """The values of one metric over the systems of a place.

    A label such as `meditok@step-2000` or `meditok@2k` gives the step by its last number.

    Raises:
        UsageError: unknown metric, or fewer than two systems with a value.
    """
    column = Column.parse(metric)
    if column.metric not in METRICS:
        message = f"unknown metric {column.metric!r}; known: {', '.join(METRICS)}"
        raise UsageError(message)
    found = {}
    for name, stored in place.systems.items():
        chosen = column.of(stored.record, group) if group else column.overall(stored.record)
        if chosen is not None and chosen.value is not None:
            found[name] = chosen
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
    groups = {m.group for m in found.values()}
    ordered = sorted(points, key=lambda point: point.step)
    return Curve(place.task, place.dataset, column, "/".join(sorted(groups)), ordered, steps)


def _step(name: str) -> float | None:
    label = name.partition(" (")[0].rpartition("@")[2]
    found = re.findall(r"(\d+(?:\.\d+)?)([kKM]?)", label)
    if not found:
        return None
    number, unit = found[-1]
    return float(number) * {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}[unit]


def curve_table(line: Curve) -> str:
    """The curve as text."""
    digits = METRICS[line.column.metric].digits
    rows: list[Row] = []
    before: float | None = None
    for point in line.points:
        interval = (
            "–"
            if point.low is None or point.high is None
            else f"{point.low:.{digits}f} … {point.high:.{digits}f}"
        )
        rows.append(
            {
                "tokenizer": point.label,
                "step": f"{point.step:g}",
                "value": f"{point.value:.{digits}f}",
                "95 %": interval,
                "change": "–" if before is None else f"{point.value - before:+.{digits}f}",
            }
        )
        before = point.value
    title = f"{line.task} on {line.dataset}: {line.column.heading} of {line.group}"
    return f"{title}\n{text_table(rows)}"


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

    title = escape(f"{line.task} on {line.dataset}: {line.column.heading} of {line.group}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{title}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2:g}" y="24" text-anchor="middle" font-size="14">{title}</text>',
    ]
    digits = METRICS[line.column.metric].digits
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
