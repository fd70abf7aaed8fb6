"""Printed values of papers beside ours: every cell of the ledger, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...harness.errors import MedbenchError
from ...harness.record import Record
from ...harness.record_files import load_record, slug
from ..ledger import LedgerRow, Paper, ledger, papers
from ..reproduction.plan import PlannedCell, plan
from ..reproduction.results import beside
from .render import Site


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """A printed value, and ours where records hold it."""

    row: LedgerRow
    ours: str = ""
    difference: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A method's printed values over the places of one table and metric."""

    method: str
    cells: tuple[PrintedCell | None, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """One metric of a printed table."""

    title: str
    metric: str
    places: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class PrintedPaper:
    """A paper with its tables."""

    paper: Paper
    tables: tuple[PrintedTable, ...]
    cells: int
    measured: int
    """Cells with a value of ours."""


def write_reproductions(site: Site, results: Path) -> None:
    """Write `reproductions.html`."""
    found = []
    for key, paper in papers().items():
        cells = _printed(key, results)
        measured = sum(bool(cell.ours) for cell in cells)
        tables = tuple(printed_tables(cells, paper.tables))
        found.append(PrintedPaper(paper, tables, len(cells), measured))
    site.page("reproductions.html", "reproductions.html", papers=found)


def _printed(paper: str, results: Path) -> list[PrintedCell]:
    """Every printed cell; what this machine lacks is no matter of the site, so it is not said."""
    planned = plan(paper, data_root=None)
    found = {each.cell.row: each for each in beside(planned, _records(planned, results))}
    cells = []
    for row in ledger(paper):
        each = found.get(row)
        if each is None or each.ours is None or each.difference is None:
            cells.append(PrintedCell(row))
        else:
            ours, difference = f"{each.ours:.4g}", f"{each.difference:+.3g}"
            cells.append(PrintedCell(row, ours, difference, each.why))
    return cells


def _records(planned: Sequence[PlannedCell], results: Path) -> list[Record]:
    """The records that the plan asks for, where they are; damaged ones are reported elsewhere."""
    wanted = {
        (cell.task, dataset, cell.tokenizer)
        for cell in planned
        for dataset in cell.datasets
        if cell.tokenizer is not None
    }
    found = []
    for task, dataset, tokenizer in sorted(wanted):
        for path in sorted((results / task / slug(dataset) / slug(tokenizer)).glob("*.json")):
            try:
                found.append(load_record(path))
            except MedbenchError:
                continue
    return found


def printed_tables(cells: Sequence[PrintedCell], titles: Mapping[str, str]) -> list[PrintedTable]:
    """Cells as tables: one per printed table and metric, methods down, places across."""
    found: dict[tuple[str, str], list[PrintedCell]] = {}
    for cell in cells:
        found.setdefault((cell.row.table, cell.row.metric), []).append(cell)
    return [
        _table(titles.get(table, table), table, metric, members)
        for (table, metric), members in found.items()
    ]


def _table(title: str, name: str, metric: str, cells: Sequence[PrintedCell]) -> PrintedTable:
    places = tuple(dict.fromkeys(cell.row.place for cell in cells))
    methods: dict[tuple[str, str, int | None], list[PrintedCell]] = {}
    for cell in cells:
        row = cell.row
        methods.setdefault((row.row, row.method, row.downsample), []).append(cell)
    lines = []
    for (row, method, downsample), own in methods.items():
        by_place = {cell.row.place: cell for cell in own}
        label = f"{row} {method}".strip() + (f" (f{downsample})" if downsample else "")
        notes = [text for cell in own for text in (cell.row.note, cell.why) if text]
        places_held = tuple(by_place.get(place) for place in places)
        lines.append(Line(label, places_held, tuple(dict.fromkeys(notes))))
    return PrintedTable(f"{name}: {title}" if title != name else name, metric, places, tuple(lines))
