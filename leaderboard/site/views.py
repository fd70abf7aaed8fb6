"""Records as the tables that pages show: ranked rows, columns, cells, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...harness.record import DatasetFacts, InfoFacts, Record
from ...harness.tables import Column, columns_of, reasons
from ...harness.vocabulary import METRICS
from ..ranking import RankRange, rank_ranges, takes_part, unpinned_notes
from ..recipes import recipes
from ..seeds import seed_note
from ..trust import Mark, Track
from .cells import ABSENT, Value, number, overall
from .columns import ColumnView, column_view
from .licences import Use, commercial_use
from .names import page_name, run_name
from .sheet import Sheet, Sheets, in_order


@dataclass(frozen=True, slots=True)
class Row:
    """One record in a table."""

    name: str
    """`tokenizer@variant`."""
    task: str
    dataset: str
    board: str
    """Page names: of its board, of its own page, of its tokenizer's page."""
    run: str
    tokenizer: str
    kind: str
    mark: Mark
    ranked: bool
    rank: RankRange | None
    bits: float | None
    bits_text: str
    cells: tuple[Value, ...]
    """In the order of the table's columns."""
    groups: dict[str, tuple[Value, ...]]
    """The same columns for each group; emptied where only the overall values are wanted."""
    status: str
    status_reason: str
    info: InfoFacts
    use: Use
    disclosure: str
    speed: str
    device: str
    created: str
    seed: int | None
    """Of a task that draws at random."""
    release: str
    commit: str
    """First ten digits, or `unknown`."""
    command: str
    dirty: bool

    @property
    def tokens(self) -> str:
        """`8 × 256`: codebooks times positions; empty without tokens."""
        info = self.info
        return f"{info.codebooks} × {info.positions}" if info.codebooks and info.positions else ""

    @property
    def missing(self) -> int:
        """How many of the table's values are absent."""
        return sum(cell.value is None for cell in self.cells)

    @property
    def measured(self) -> bool:
        """Whether it has a value at all: one of a system that a task is not for has none."""
        return self.missing < len(self.cells)

    def short(self) -> Row:
        """Without the values per group."""
        return replace(self, groups={})


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that may be ranked together: same task, images, definitions and track."""

    id: str
    track: Track
    columns: tuple[ColumnView, ...]
    rows: tuple[Row, ...]
    groups: tuple[str, ...]
    """Groups that values can be shown for, besides the overall ones."""
    notes: tuple[str, ...]
    newest: str
    """Newest record's time."""
    recipe: str
    """`preset tiny`; empty where the task has one way only."""
    seed_note: str
    """What ± is in it, where values are of sampling seeds; else empty."""
    superseded: tuple[Row, ...] = field(default=())
    """Earlier records of a row's tokenizer."""

    @property
    def ranked(self) -> list[Row]:
        """Rows that take part in the ranking, best first."""
        return [row for row in self.rows if row.ranked]

    @property
    def best(self) -> tuple[float | None, ...]:
        """The best value of each column among the ranked rows; None where none is better."""
        found: list[float | None] = []
        for index, column in enumerate(self.columns):
            values = [v for row in self.ranked if (v := row.cells[index].value) is not None]
            choose = {"higher": max, "lower": min}.get(column.direction)
            found.append(choose(values) if choose and len(values) > 1 else None)
        return tuple(found)

    @property
    def primary(self) -> ColumnView | None:
        """The column that orders the table."""
        return self.columns[0] if self.columns else None


@dataclass(frozen=True, slots=True)
class Board:
    """A task on one set of images: a page, with one table per track and set of definitions."""

    name: str
    """Of its page."""
    task: str
    facts: DatasetFacts
    dataset: str
    """Name of the dataset's page."""
    tables: tuple[Table, ...]

    @property
    def main(self) -> Table:
        """The table that the site shows first."""
        return self.tables[0]

    @property
    def recipe(self) -> str:
        """Of all its tables; empty where they differ, and each says its own."""
        found = {table.recipe for table in self.tables}
        return found.pop() if len(found) == 1 else ""

    @property
    def subject(self) -> str:
        """The dataset, and how values came about: what a board is called besides its task."""
        return subject(self.facts.id, self.recipe)

    def short(self) -> Board:
        """What other pages need of it."""
        tables = (
            replace(table, rows=tuple(row.short() for row in table.rows)) for table in self.tables
        )
        return replace(self, tables=tuple(tables))


def subject(dataset: str, recipe: str) -> str:
    """`medsynth, preset tiny`."""
    return f"{dataset}, {recipe}" if recipe else dataset


def table_of(
    records: Sequence[Record], sheets: Sheets, *, board: str, id_: str, track: Track
) -> Table:
    """The table of records that may share one, best first, references after the ranked rows."""
    columns = columns_of(records[0].task, records)
    current, earlier = _newest_of_each([sheets[run_name(record)] for record in records])
    shown = [sheet.record for sheet in current]
    ranked = {s.run for s in (*current, *earlier) if track != "paper" and _takes_part(s)}
    ranks: dict[str, RankRange | None] = {}
    if columns:
        among = [sheet for sheet in current if sheet.run in ranked]
        found = rank_ranges([s.record for s in among], columns[0].metric, columns[0].setting)
        ranks = dict(zip((sheet.run for sheet in among), found, strict=True))

    def row(sheet: Sheet) -> Row:
        first = sheet.run in ranked
        return _row(sheet, columns, board=board, rank=ranks.get(sheet.run), ranked=first)

    ordered = sorted(current, key=lambda s: _order(s, columns, first=s.run in ranked))
    rows = tuple(row(sheet) for sheet in ordered)
    return Table(
        id=id_,
        track=track,
        columns=tuple(column_view(column, records) for column in columns),
        rows=rows,
        groups=tuple(in_order(group for row in rows for group in row.groups)),
        notes=(*reasons(shown), *unpinned_notes(shown)),
        newest=max(record.created for record in records),
        recipe=recipes(shown),
        seed_note=seed_note(shown),
        superseded=tuple(row(sheet) for sheet in earlier),
    )


def _takes_part(sheet: Sheet) -> bool:
    return takes_part(sheet.record) and sheet.mark.ranked


def _newest_of_each(sheets: Sequence[Sheet]) -> tuple[list[Sheet], list[Sheet]]:
    """One record per tokenizer, the newest; and the others."""
    newest: dict[str, Sheet] = {}
    earlier: list[Sheet] = []
    for sheet in sorted(sheets, key=lambda s: (s.record.created, s.record.identity.key8)):
        name = sheet.record.full_name
        if name in newest:
            earlier.append(newest[name])
        newest[name] = sheet
    return list(newest.values()), earlier


def _order(sheet: Sheet, columns: Sequence[Column], *, first: bool) -> tuple[bool, float, str]:
    name = sheet.record.full_name
    value = overall(sheet.values, columns[0]).value if columns else None
    if value is None:
        return (not first, float("inf"), name)
    lower = METRICS[columns[0].metric].direction == "lower"
    return (not first, value if lower else -value, name)


def _by_group(sheet: Sheet, columns: Sequence[Column]) -> dict[str, tuple[Value, ...]]:
    keys = [(column.metric, column.setting) for column in columns]
    values = sheet.values
    return {
        group: tuple([values.get((*key, group), ABSENT) for key in keys])
        for group in sheet.groups(keys)
    }


def _row(
    sheet: Sheet,
    columns: Sequence[Column],
    *,
    board: str,
    rank: RankRange | None,
    ranked: bool,
) -> Row:
    record = sheet.record
    info, environment = record.info, record.environment
    bits = sheet.bits_per_pixel
    star = "*" if info.kind == "continuous" and bits is not None else ""
    use = commercial_use(info.weights_licence)
    if info.weights_sha256 is None and info.kind in ("codec", "bound"):
        use = commercial_use(info.code_licence)
    per_second = record.timing.images_per_second if record.timing else None
    return Row(
        name=record.full_name,
        task=record.task,
        dataset=record.dataset.id,
        board=board,
        run=sheet.run,
        tokenizer=page_name(record.full_name),
        kind=info.kind,
        mark=sheet.mark,
        ranked=ranked,
        rank=rank,
        bits=bits,
        bits_text="–" if bits is None else f"{number(bits, 3)}{star}",
        cells=tuple([overall(sheet.values, column) for column in columns]),
        groups=_by_group(sheet, columns),
        status=record.status,
        status_reason=record.status_reason or "",
        info=info,
        use=use,
        disclosure=record.dataset.disclosure or info.training_data,
        speed="–" if per_second is None else number(per_second, 1),
        device=environment.device_name or environment.device,
        created=record.created,
        seed=record.identity.seed,
        release=environment.medbench,
        commit=(environment.git_commit or "unknown")[:10],
        command=record.command,
        dirty=bool(environment.git_dirty),
    )
