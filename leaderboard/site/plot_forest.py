"""Forest plot: paired differences from one row of the table, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...harness.record import Record
from ...harness.vocabulary import MACRO, METRICS, POOLED
from ..pairs import paired_difference
from .cells import number
from .columns import ColumnView
from .plot_rate import SHAPES, Plot
from .scales import scale_over
from .svg import element, figure, group, marker
from .views import Row, Table

_MOST = 30
WIDTH, NAMES, NUMBERS, LINE = 720.0, 190.0, 150.0, 24.0


@dataclass(frozen=True, slots=True)
class Paired:
    """A row minus the reference over the common resamples."""

    row: Row
    difference: float
    low: float
    high: float

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Against:
    """The differences of the rows nearest to the first one."""

    reference: Row
    pairs: Sequence[Paired]
    others: int
    """Rows further down, which are not compared here."""


def paired_rows(table: Table, records: Mapping[str, Record]) -> Against | None:
    """The first row with resamples, and the paired differences of the next rows from it.

    None where fewer than two rows hold resamples of the same draws.
    """
    column = table.primary
    if column is None:
        return None
    for of in (MACRO, POOLED):
        rows = [
            row
            for row in table.rows
            if (m := records[row.name].metric(column.metric, of, column.setting)) is not None
            and m.replicates
        ]
        if len(rows) > 1:
            others = max(len(rows) - 1 - _MOST, 0)
            return Against(rows[0], _pairs(rows, records, column, of), others)
    return None


def _pairs(
    rows: Sequence[Row], records: Mapping[str, Record], column: ColumnView, group: str
) -> list[Paired]:
    reference = records[rows[0].name]
    pairs = []
    for row in rows[1 : _MOST + 1]:
        found = paired_difference(
            records[row.name], reference, column.metric, group, column.setting
        )
        if None not in (found.value, found.low, found.high):
            pairs.append(Paired(row, found.value or 0.0, found.low or 0.0, found.high or 0.0))
    return pairs


def forest_plot(table: Table, records: Mapping[str, Record]) -> Plot | None:
    """Differences from the first row in the primary metric; None where nothing is paired."""
    found = paired_rows(table, records)
    column = table.primary
    if found is None or column is None:
        return None
    reference, shown = found.reference, found.pairs
    if not shown:
        return None
    bottom = 34 + LINE * len(shown)
    ends = [v for p in shown for v in (p.low, p.high, p.difference)]
    x = scale_over([0.0, *ends], NAMES + 10, WIDTH - NUMBERS - 10)
    digits = METRICS[column.metric].digits
    unit = f" {column.unit}" if column.unit else ""
    parts = []
    for value, text in x.ticks():
        parts.append(element("line", x1=x(value), x2=x(value), y1=26, y2=bottom, class_="grid"))
        parts.append(
            element("text", text, x=x(value), y=bottom + 18, text_anchor="middle", class_="tick")
        )
    parts.append(element("line", x1=x(0), x2=x(0), y1=20, y2=bottom, class_="zero"))
    parts.append(
        element("text", f"= {reference.name}", x=x(0), y=14, text_anchor="middle", class_="tick")
    )
    for index, pair in enumerate(shown):
        y = 34 + LINE * index + LINE / 2
        text = f"{number(pair.difference, digits)} [{number(pair.low, digits)}, "
        text = (text + f"{number(pair.high, digits)}]").replace("-", "−")
        state = "resolved" if pair.resolved else "open"
        parts.append(
            group(
                [
                    element("title", f"{pair.row.name} − {reference.name}: {text}{unit}"),
                    element(
                        "text", _shorten(pair.row.name), x=NAMES - 2, y=y + 4,
                        text_anchor="end", class_="name",
                    ),
                    element(
                        "line", x1=x(pair.low), x2=x(pair.high), y1=y, y2=y, class_="interval"
                    ),
                    marker(SHAPES[pair.row.kind], x(pair.difference), y, radius=4.5),
                    element(
                        "text", text, x=WIDTH, y=y + 4, text_anchor="end", class_="tick"
                    ),
                ],
                class_=f"point {pair.row.kind} {state}",
                data_row=pair.row.name,
            )
        )  # fmt: skip
    height = bottom + 44
    label = f"difference in {column.title}{f' ({column.unit})' if column.unit else ''}"
    middle = (x.start + x.stop) / 2
    parts.append(
        element("text", label, x=middle, y=bottom + 38, text_anchor="middle", class_="label")
    )
    title = f"{column.title}: paired difference from {reference.name}"
    caption = (
        "Filled: the 95 % interval of the paired difference leaves out zero. Hollow: it does not, "
        "so that these data do not tell the two apart."
    )
    if found.others:
        caption += (
            f" The first {len(shown)} of {len(shown) + found.others} rows; compare any two on the "
            "compare page."
        )
    return Plot(
        id=f"{table.id}-forest",
        title=title,
        caption=caption,
        svg=figure(
            parts, size=(WIDTH, height), title=title,
            description=f"{sum(p.resolved for p in shown)} of {len(shown)} differ from it.",
        ),
        numbers=(
            ("Tokenizer", f"Difference{unit}", "Low", "High", "Interval leaves out zero"),
            *(
                (
                    p.row.name,
                    *(number(v, digits) for v in (p.difference, p.low, p.high)),
                    "yes" if p.resolved else "no",
                )
                for p in shown
            ),
        ),
    )  # fmt: skip


def _shorten(name: str, most: int = 29) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
