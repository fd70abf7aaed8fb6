"""A tokenizer's value on a board from record to record, with the steps down marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .cells import Value
from .columns import ColumnView
from .plot_rate import Plot
from .scales import Scale, scale_over
from .svg import element, figure, group, marker
from .views import Board, Row, Table

WIDTH, HEIGHT = 560.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 16.0, 16.0, 46.0
_MOST_LABELS = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One record of the history."""

    row: Row
    cell: Value
    value: float
    down: bool
    """Worse than the record before, and the two intervals do not meet."""


def history_plot(board: Board, table: Table, rows: Sequence[Row]) -> Plot | None:
    """The primary metric over records of one tokenizer in one table; None for fewer than two."""
    column = table.primary
    if column is None:
        return None
    steps = _steps(column, rows)
    if len(steps) < 2:
        return None
    title = f"{column.title} on {board.subject}, from record to record"
    downs = sum(step.down for step in steps)
    caption = (
        f"{column.arrow or 'no better direction'}. "
        + (f"{downs} {'step' if downs == 1 else 'steps'} down beyond both intervals, marked ▼. "
           if downs else "No step down beyond both intervals. ")
        + "medbench gate compares two records image by image and sees smaller losses."
    )  # fmt: skip
    ends = [v for s in steps for v in (s.value, s.cell.low, s.cell.high) if v is not None]
    x = scale_over(range(len(steps)), LEFT + 20, WIDTH - RIGHT - 20)
    y = scale_over(ends, HEIGHT - BOTTOM, TOP)
    line = " ".join(f"{x(i):.1f},{y(s.value):.1f}" for i, s in enumerate(steps))
    drawn = [
        *_axes(steps, x, y, column),
        element("polyline", points=line, class_="front"),
        *(_point(step, x(i), y) for i, step in enumerate(steps)),
    ]
    return Plot(
        id=f"history-{board.name}-{table.id}",
        title=title,
        caption=caption[0].upper() + caption[1:],
        svg=figure(
            drawn,
            size=(WIDTH, HEIGHT),
            title=title,
            description=f"{len(steps)} records; {downs} steps down beyond both intervals.",
        ),
        numbers=(
            ("Measured", "medbench", "Commit", column.title, "Interval and count", "Step"),
            *(_numbers(step) for step in steps),
        ),
    )


def _steps(column: ColumnView, rows: Sequence[Row]) -> list[Step]:
    """Records with a value, the oldest first."""
    steps: list[Step] = []
    for row in sorted(rows, key=lambda row: (row.created, row.run)):
        cell = row.cells[0]
        if cell.value is not None:
            down = bool(steps) and _down(steps[-1].cell, cell, column.direction)
            steps.append(Step(row, cell, cell.value, down))
    return steps


def _down(before: Value, after: Value, direction: str) -> bool:
    if None in (before.low, before.high, after.low, after.high):
        return False
    if direction == "higher":
        return (after.high or 0.0) < (before.low or 0.0)
    return direction == "lower" and (after.low or 0.0) > (before.high or 0.0)


def _axes(steps: Sequence[Step], x: Scale, y: Scale, column: ColumnView) -> list[Markup]:
    parts = []
    for value, text in y.ticks():
        at = y(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"))
        parts.append(element("text", text, x=LEFT - 8, y=at + 4, text_anchor="end", class_="tick"))
    every = -(-len(steps) // _MOST_LABELS)
    for index, step in enumerate(steps):
        if index % every == 0:
            text, at = step.row.created[:10], x(index)
            parts.append(
                element("text", text, x=at, y=y.start + 18, text_anchor="middle", class_="tick")
            )
    unit = f" ({column.unit})" if column.unit else ""
    middle = (y.start + y.stop) / 2
    parts.append(
        element(
            "text", f"{column.title}{unit}", x=14, y=middle, text_anchor="middle",
            transform=f"rotate(-90 14 {middle:.1f})", class_="label",
        )
    )  # fmt: skip
    parts.append(
        element("text", "record", x=(x.start + x.stop) / 2, y=y.start + 38, text_anchor="middle",
                class_="label")
    )  # fmt: skip
    return parts


def _point(step: Step, at: float, y: Scale) -> Markup:
    words = f"{step.row.created[:10]}: {step.cell.text}; {step.cell.note}"
    parts = [element("title", words)]
    if step.cell.low is not None and step.cell.high is not None:
        ends = {"y1": y(step.cell.low), "y2": y(step.cell.high)}
        parts.append(element("line", x1=at, x2=at, **ends, class_="whisker"))
    parts.append(marker("circle", at, y(step.value)))
    if step.down:
        above = min(y(step.cell.high or step.value), y(step.value)) - 8
        parts.append(element("text", "▼", x=at, y=above, text_anchor="middle", class_="down"))
    return group(parts, class_=f"point {step.row.kind}")


def _numbers(step: Step) -> tuple[str, ...]:
    row = step.row
    word = "down beyond both intervals" if step.down else ""
    return (row.created, row.release, row.commit, step.cell.text, step.cell.note, word)
