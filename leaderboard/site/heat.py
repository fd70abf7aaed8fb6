"""Heat maps as tables: a metric per group, shaded by position within the column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...harness.record import Record
from ...harness.tables import Column, modality_columns
from ...harness.vocabulary import METRICS
from .cells import ABSENT
from .columns import column_key, column_view
from .views import Row, Table

SHADES = 7
"""Classes h0 (best) to h6 (last)."""
_MOST_GROUPS = 24


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A tokenizer's values, as cells of a table: each with its shade, and its words as a title."""

    name: str
    cells: Markup


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One metric over groups."""

    title: str
    arrow: str
    groups: tuple[str, ...]
    rows: tuple[HeatRow, ...]


def shades(values: Sequence[float | None], direction: str) -> list[str]:
    """A class for each value of a column: h0 for the best to h6 for the last; ties share one."""
    known = sorted({v for v in values if v is not None}, reverse=direction == "higher")
    if direction == "none" or len(known) < 2:
        return [""] * len(values)
    step = (SHADES - 1) / (len(known) - 1)
    at = {value: f"h{round(index * step)}" for index, value in enumerate(known)}
    return ["" if v is None else at[v] for v in values]


def heat_maps(table: Table, records: Sequence[Record]) -> list[HeatMap]:
    """The metrics that the task names for a table over groups, else the primary one."""
    columns = modality_columns(records[0].task)
    if not columns and table.primary is not None:
        columns = [Column(table.primary.metric, table.primary.setting)]
    keys = [column.key for column in table.columns]
    maps = []
    for column in columns:
        key = column_key(column.metric, column.setting)
        if key in keys and (made := _map(table, keys.index(key), column, records)):
            maps.append(made)
    return maps


def _map(table: Table, index: int, column: Column, records: Sequence[Record]) -> HeatMap | None:
    groups = [
        group
        for group in table.groups
        if any(_value(row, group, index) is not None for row in table.rows)
    ][:_MOST_GROUPS]
    if not groups:
        return None
    direction = METRICS[column.metric].direction
    measured = [row for row in table.rows if row.measured]
    by_group = [
        shades([_value(row, group, index) for row in measured], direction) for group in groups
    ]
    rows = []
    for row, classes in zip(measured, zip(*by_group, strict=True), strict=True):
        found = [row.groups[g][index] if g in row.groups else ABSENT for g in groups]
        cells = [
            f'<td class="num {shade}" title="{escape(value.note)}">{value.text}</td>'
            for value, shade in zip(found, classes, strict=True)
        ]
        rows.append(HeatRow(row.name, Markup("".join(cells))))  # noqa: S704 (notes are escaped)
    view = column_view(column, records)
    return HeatMap(view.title, view.arrow, tuple(groups), tuple(rows))


def _value(row: Row, group: str, index: int) -> float | None:
    found = row.groups.get(group)
    return found[index].value if found else None
