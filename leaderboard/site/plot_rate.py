"""Rate against quality: what a tokenizer's bits buy, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .cells import Value
from .plot_labels import Box, place
from .scales import Scale, drawable, scale_over
from .svg import element, figure, group, marker
from .views import Row, Table

WIDTH, HEIGHT = 560.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 12.0, 14.0, 46.0
SHAPES = {"discrete": "circle", "continuous": "diamond", "codec": "square", "bound": "triangle"}
_ROOM = 0.4
"""Share of the points' range that a level may lie outside of it."""
_LABELLED = 16
"""With more points only those of the front are named."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn plot with what stands around it."""

    id: str
    title: str
    caption: str
    svg: Markup
    numbers: tuple[tuple[str, ...], ...]
    """The first row are headings."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One row in the plane; a point equals itself alone."""

    row: Row
    bits: float
    cell: Value

    @property
    def value(self) -> float:
        """The plotted value."""
        return self.cell.value or 0.0


def rate_plots(table: Table) -> list[Plot]:
    """One plot for each column that ranks and that at least two rows have bits and a value for."""
    plots = []
    for index, column in enumerate(table.columns):
        points = [
            Point(row, row.bits, row.cells[index])
            for row in table.rows
            if row.bits and row.bits > 0 and row.cells[index].value is not None
        ]
        if len(points) >= 2 and column.direction != "none" and (column.ranked or index == 0):
            plots.append(_plot(table, index, points))
    return plots


def pareto(points: Sequence[Point], direction: str) -> list[Point]:
    """Points that no other beats at the same or fewer bits; codes only, by rising bits.

    Continuous latents are no codes, and rows that are not ranked define no front, codecs
    excepted: whether a tokenizer beats them is what the front is for.
    """
    sign = -1.0 if direction == "lower" else 1.0
    eligible = [p for p in points if (p.row.kind == "discrete" and p.row.ranked) or _is_codec(p)]
    front: list[Point] = []
    for point in sorted(eligible, key=lambda p: (p.bits, -sign * p.value)):
        if not front or sign * point.value > sign * front[-1].value:
            front.append(point)
    return front


def _is_codec(point: Point) -> bool:
    return point.row.kind == "codec" and point.row.status == "ok"


def _plot(table: Table, index: int, points: Sequence[Point]) -> Plot:
    column = table.columns[index]
    low, high = drawable([p.value for p in points])
    kept = [p for p in points if low <= p.value <= high]
    bounds = [
        (row, row.cells[index])
        for row in table.rows
        if row.kind == "bound" and not row.bits and row.cells[index].value is not None
    ]
    levels, beyond = _near_levels(bounds, kept)
    x = scale_over([p.bits for p in kept], LEFT, WIDTH - RIGHT, logarithmic=True)
    ends = [v for p in kept for v in (p.value, p.cell.low, p.cell.high) if v is not None]
    inside = [min(max(v, low), high) for v in [*ends, *(v for _, v in levels)]]
    y = scale_over(inside, HEIGHT - BOTTOM, TOP)
    front = pareto(kept, column.direction)
    unit = f" ({column.unit})" if column.unit else ""
    drawn = [
        axes(x, y, x_label="bits per pixel (log scale)", y_label=f"{column.title}{unit}"),
        *_levels(levels, x, y),
        _front(front, x, y),
        *(_point(p, x, y) for p in kept),
        *_labels(kept, front, x, y),
    ]
    best = ", ".join(p.row.name for p in front) or "none"
    better = column.arrow
    left_out = [p.row.name for p in points if p not in kept]
    caption = f"{better}. The line joins the Pareto front over discrete tokenizers and codecs."
    if beyond:
        caption += f" Outside the frame: {', '.join(f'{row.name} {v:.4g}' for row, v in beyond)}."
    if left_out:
        caption += f" Off the scale, see the numbers: {', '.join(left_out)}."
    return Plot(
        id=f"{table.id}-rate-{column.key}",
        title=f"{column.title} against bits per pixel",
        caption=caption[0].upper() + caption[1:],
        svg=figure(
            drawn,
            size=(WIDTH, HEIGHT),
            title=f"{column.title} against bits per pixel",
            description=f"{len(kept)} systems; on the Pareto front: {best}.",
        ),
        numbers=(
            ("Tokenizer", "Kind", "Bits/px", column.title, "95 % interval", "Pareto front"),
            *(_numbers(p, p in front) for p in sorted(points, key=lambda p: p.bits)),
        ),
    )


def _near_levels(
    bounds: Sequence[tuple[Row, Value]], points: Sequence[Point]
) -> tuple[list[tuple[Row, float]], list[tuple[Row, float]]]:
    """Levels near enough to the points that they leave them room, and the others."""
    values = [point.value for point in points]
    room = _ROOM * (max(values) - min(values))
    near: list[tuple[Row, float]] = []
    beyond: list[tuple[Row, float]] = []
    for row, cell in bounds:
        if cell.value is not None:
            inside = min(values) - room <= cell.value <= max(values) + room
            (near if inside else beyond).append((row, cell.value))
    return near, beyond


def _numbers(point: Point, on_front: bool) -> tuple[str, ...]:
    row, cell = point.row, point.cell
    return (
        row.name, row.kind, row.bits_text, cell.text, cell.note, "yes" if on_front else "no",
    )  # fmt: skip


def axes(x: Scale, y: Scale, *, x_label: str, y_label: str) -> Markup:
    """Grid, ticks and titles of both axes."""
    parts: list[Markup] = []
    for value, text in y.ticks():
        at = y(value)
        parts.append(element("line", x1=x.start, x2=x.stop, y1=at, y2=at, class_="grid"))
        parts.append(
            element("text", text, x=x.start - 8, y=at + 4, text_anchor="end", class_="tick")
        )
    for value, text in x.ticks():
        at = x(value)
        parts.append(element("line", x1=at, x2=at, y1=y.start, y2=y.start + 5, class_="axis"))
        parts.append(
            element("text", text, x=at, y=y.start + 19, text_anchor="middle", class_="tick")
        )
    parts.append(element("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    middle = (x.start + x.stop) / 2
    parts.append(
        element("text", x_label, x=middle, y=y.start + 38, text_anchor="middle", class_="label")
    )
    height = (y.start + y.stop) / 2
    turn = f"rotate(-90 14 {height:.1f})"
    parts.append(
        element(
            "text", y_label, x=14, y=height, text_anchor="middle", transform=turn, class_="label"
        )
    )
    return group(parts)


def _levels(levels: Sequence[tuple[Row, float]], x: Scale, y: Scale) -> list[Markup]:
    """Bounds have no rate: a dashed level across the plot."""
    drawn = []
    for row, value in levels:
        at = y(value)
        line = element("line", x1=x.start, x2=x.stop, y1=at, y2=at, class_="level")
        text = element(
            "text", row.name, x=x.stop - 4, y=at - 5, text_anchor="end", class_="level-name"
        )
        drawn.append(group([line, text], data_row=row.name, class_="reference"))
    return drawn


def _front(front: Sequence[Point], x: Scale, y: Scale) -> Markup:
    if len(front) < 2:
        return Markup("")
    points = " ".join(f"{x(p.bits):.1f},{y(p.value):.1f}" for p in front)
    return element("polyline", points=points, class_="front")


def _point(point: Point, x: Scale, y: Scale) -> Markup:
    at, height = x(point.bits), y(point.value)
    row, cell = point.row, point.cell
    parts = [element("title", f"{row.name}: {cell.text} at {row.bits_text} bits/px; {cell.note}")]
    if cell.low is not None and cell.high is not None and math.isfinite(cell.high - cell.low):
        ends = {"y1": y(cell.low), "y2": y(cell.high)}
        parts.append(element("line", x1=at, x2=at, **ends, class_="whisker"))
    parts.append(marker(SHAPES[row.kind], at, height))
    ranked = "" if row.ranked or row.kind in ("codec", "bound") else " unranked"
    return group(parts, class_=f"point {row.kind}{ranked}", data_row=row.name)


def _labels(points: Sequence[Point], front: Sequence[Point], x: Scale, y: Scale) -> list[Markup]:
    named = list(points) if len(points) <= _LABELLED else list(front)
    frame = Box(x.start, y.stop - 8, x.stop + RIGHT, y.start)
    spots = place([(x(p.bits), y(p.value), p.row.name) for p in named], frame=frame)
    return [
        element("text", point.row.name, x=spot.x, y=spot.y, text_anchor=spot.anchor,
                class_="name", data_row=point.row.name)
        for point, spot in zip(named, spots, strict=True)
        if spot is not None
    ]  # fmt: skip
