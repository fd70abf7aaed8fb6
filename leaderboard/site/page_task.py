"""A task's page: its protocol, its boards, and tokenizers across them by mean rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..trust import TRACKS, Track
from .catalogue import Catalogue, main_table
from .heat import shades
from .page_index import excerpt
from .plot_rate import rate_plots
from .render import Site
from .tasks import task_text
from .views import Board, Row, Table


@dataclass(frozen=True, slots=True)
class AcrossCell:
    """A tokenizer's value on one board."""

    text: str
    shade: str
    run: str
    overlap: bool
    """Its authors declare these images among the training data."""


@dataclass(frozen=True, slots=True)
class AcrossRow:
    """A tokenizer over all boards of a track."""

    name: str
    tokenizer: str
    cells: tuple[AcrossCell | None, ...]
    mean_rank: float | None
    """Over all boards; None where one is missing."""
    clean_rank: float | None
    """Over the boards that no compared tokenizer declares to have trained on."""
    missing: str
    """Which boards it lacks, in words."""


@dataclass(frozen=True, slots=True)
class Across:
    """The tokenizers of one track over its boards."""

    track: Track
    metric: str
    boards: tuple[Board, ...]
    rows: tuple[AcrossRow, ...]
    complete: int
    any_overlap: bool


def write_task(site: Site, catalogue: Catalogue, task: str) -> None:
    """Write `task/<task>.html`."""
    boards = catalogue.of_task(task)
    text = task_text(task)
    site.page(
        f"task/{text.page}.html",
        "task.html",
        task=text,
        boards=[(board, main_table(board), _leader(main_table(board))) for board in boards],
        excerpt=excerpt(boards[0], len(boards) - 1),
        plots=rate_plots(main_table(boards[0]))[:2],
        across=[made for track in TRACKS if (made := across(boards, track)) is not None],
    )


def _leader(table: Table) -> Row | None:
    return table.ranked[0] if table.ranked else None


def across(boards: Sequence[Board], track: Track) -> Across | None:
    """Tokenizers against boards; None where the track has fewer than two boards with ranked rows.

    The mean rank is taken among the tokenizers that are ranked on every board, so that nobody
    gains by leaving a hard board out.
    """
    tables: list[tuple[Board, Table]] = []
    for board in sorted(boards, key=lambda b: b.name):
        table = next((t for t in board.tables if t.track == track and t.ranked), None)
        if table is not None and table.primary is not None:
            tables.append((board, table))
    if len(tables) < 2:
        return None
    by_board = [{row.name: row for row in table.ranked} for _, table in tables]
    names = sorted({name for rows in by_board for name in rows})
    complete = [name for name in names if all(name in rows for rows in by_board)]
    tainted = [any(_overlap(rows[n]) for n in complete) for rows in by_board]
    ranks = [_ranks([rows[n] for n in complete], table) for rows, (_, table) in
             zip(by_board, tables, strict=True)]  # fmt: skip
    columns = [
        shades([_value(rows.get(n)) for n in names], table.primary.direction)
        for rows, (_, table) in zip(by_board, tables, strict=True)
        if table.primary is not None
    ]
    made = []
    for place, name in enumerate(names):
        held = [rows.get(name) for rows in by_board]
        own = [rank[name] for rank in ranks] if name in complete else []
        clean = [r for r, taint in zip(own, tainted, strict=True) if not taint] if own else []
        made.append(
            AcrossRow(
                name=name,
                tokenizer=next(row.tokenizer for row in held if row is not None),
                cells=tuple(
                    None
                    if row is None
                    else AcrossCell(row.cells[0].text, column[place], row.run, _overlap(row))
                    for row, column in zip(held, columns, strict=True)
                ),
                mean_rank=sum(own) / len(own) if own else None,
                clean_rank=sum(clean) / len(clean) if clean else None,
                missing=", ".join(
                    board.subject
                    for (board, _), row in zip(tables, held, strict=True)
                    if row is None
                ),
            )
        )
    made.sort(key=lambda row: (row.mean_rank is None, row.mean_rank or 0.0, row.name))
    primary = tables[0][1].primary
    return Across(
        track,
        primary.title if primary else "",
        tuple(board for board, _ in tables),
        tuple(made),
        len(complete),
        any(tainted),
    )


def _overlap(row: Row) -> bool:
    return row.disclosure.startswith("overlap declared")


def _value(row: Row | None) -> float | None:
    return None if row is None else row.cells[0].value


def _ranks(rows: Sequence[Row], table: Table) -> dict[str, float]:
    """Rank of each row among these, 1 for the best; equal values share the mean of their ranks."""
    lower = table.primary is not None and table.primary.direction == "lower"
    values = {row.name: (row.cells[0].value or 0.0) * (1 if lower else -1) for row in rows}
    return {
        name: 1
        + sum(other < value for other in values.values())
        + (sum(other == value for other in values.values()) - 1) / 2
        for name, value in values.items()
    }
