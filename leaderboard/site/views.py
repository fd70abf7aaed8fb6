"""Records as the tables that pages show: ranked rows, columns, cells, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...harness.record import DatasetFacts, InfoFacts, Record
from ...harness.tables import Column, columns_of, reasons
from ...harness.vocabulary import MODALITIES, POOLED
from ..ranking import RankRange, rank_ranges, takes_part
from ..trust import Mark, Marks, Track, trust_mark
from .cells import Value, number, value_of
from .columns import ColumnView, column_view
from .licences import Use, commercial_use
from .names import page_name, run_name


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
    release: str
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

    def short(self) -> Board:
        """What other pages need of it."""
        tables = (
            replace(table, rows=tuple(row.short() for row in table.rows)) for table in self.tables
        )
        return replace(self, tables=tuple(tables))


def bits_per_pixel(record: Record) -> float | None:
    """Measured (codecs) or nominal bits per pixel; None for bounds."""
    measured = record.metric("bits_per_pixel", POOLED)
    if measured is not None and measured.value is not None:
        return measured.value
    bits = record.info.bits_per_image
    return None if bits is None else bits / record.info.resolution**2


def table_of(
    records: Sequence[Record], *, board: str, id_: str, track: Track, marks: Marks
) -> Table:
    """The table of records that may share one, best first, references after the ranked rows."""
    columns = columns_of(records[0].task, records)
    current, earlier = _newest_of_each(records)
    ranks: dict[str, RankRange] = {}
    given = {
        record.identity.key8 + record.full_name: trust_mark(record, marks) for record in records
    }

    def mark(record: Record) -> Mark:
        return given[record.identity.key8 + record.full_name]

    def ranked(record: Record) -> bool:
        return track != "paper" and takes_part(record) and mark(record).ranked

    def row(record: Record) -> Row:
        return _row(
            record,
            columns,
            board=board,
            mark=mark(record),
            rank=ranks.get(record.full_name) if ranked(record) else None,
            ranked=ranked(record),
        )

    if columns:
        among = [record for record in current if ranked(record)]
        ranks = rank_ranges(among, columns[0].metric, columns[0].setting)
    ordered = sorted(current, key=lambda record: _order(record, columns, first=ranked(record)))
    return Table(
        id=id_,
        track=track,
        columns=tuple(column_view(column, records) for column in columns),
        rows=tuple(row(record) for record in ordered),
        groups=_groups(current, columns),
        notes=tuple(reasons(current)),
        newest=max(record.created for record in records),
        superseded=tuple(row(record) for record in earlier),
    )


def _newest_of_each(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """One record per tokenizer, the newest; and the others."""
    newest: dict[str, Record] = {}
    earlier: list[Record] = []
    for record in sorted(records, key=lambda r: (r.created, r.identity.key8)):
        if record.full_name in newest:
            earlier.append(newest[record.full_name])
        newest[record.full_name] = record
    return list(newest.values()), earlier


def _order(record: Record, columns: Sequence[Column], *, first: bool) -> tuple[bool, float, str]:
    found = columns[0].overall(record) if columns else None
    if found is None or found.value is None:
        return (not first, float("inf"), record.full_name)
    sign = 1 if found.direction == "lower" else -1
    return (not first, sign * found.value, record.full_name)


def _groups(records: Sequence[Record], columns: Sequence[Column]) -> tuple[str, ...]:
    """Modalities first, in the vocabulary's order, then the other groups by name."""
    shown = {(column.metric, column.setting) for column in columns}
    found = {
        metric.group
        for record in records
        for metric in record.metrics
        if (metric.name, metric.setting) in shown and metric.value is not None
    }
    facets = sorted(group for group in found if ":" in group)
    return (*(m for m in MODALITIES if m in found), *facets)


def _by_group(record: Record, columns: Sequence[Column]) -> dict[str, tuple[Value, ...]]:
    found = {(m.name, m.setting, m.group): m for m in record.metrics}
    return {
        group: tuple(value_of(found.get((c.metric, c.setting, group))) for c in columns)
        for group in _groups([record], columns)
    }


def _row(
    record: Record,
    columns: Sequence[Column],
    *,
    board: str,
    mark: Mark,
    rank: RankRange | None,
    ranked: bool,
) -> Row:
    info, environment = record.info, record.environment
    bits = bits_per_pixel(record)
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
        run=run_name(record),
        tokenizer=page_name(record.full_name),
        kind=info.kind,
        mark=mark,
        ranked=ranked,
        rank=rank,
        bits=bits,
        bits_text="–" if bits is None else f"{number(bits, 3)}{star}",
        cells=tuple(value_of(column.overall(record)) for column in columns),
        groups=_by_group(record, columns),
        status=record.status,
        status_reason=record.status_reason or "",
        info=info,
        use=use,
        disclosure=record.dataset.disclosure or info.training_data,
        speed="–" if per_second is None else number(per_second, 1),
        device=environment.device_name or environment.device,
        created=record.created,
        release=environment.medbench,
        command=record.command,
        dirty=bool(environment.git_dirty),
    )
