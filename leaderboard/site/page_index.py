"""The overview: what is measured, how to read it, and the head of every task's main table."""

from __future__ import annotations

from dataclasses import dataclass

from .agreement import task_agreement
from .catalogue import Catalogue, main_table
from .plot_rate import Plot, rate_plots
from .render import Site
from .tasks import TaskText, task_text
from .views import Board, Row, Table, subject

_HEAD = 6
"""Rows of a task's table on the overview."""
_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The head of a board's main table."""

    task: TaskText
    board: Board
    table: Table
    rows: tuple[Row, ...]
    columns: int
    others: int
    """Further boards of the task."""

    @property
    def subject(self) -> str:
        """The dataset, and how the table's values came about."""
        return subject(self.board.facts.id, self.table.recipe)


def excerpt(board: Board, others: int) -> Excerpt:
    """The first ranked rows, then the best references, of a board's main table.

    Rows without a value stand there only where there is room.
    """
    table = main_table(board)
    references = [row for row in table.rows if not row.ranked and row.measured]
    shown = [*table.ranked[:_HEAD], *references[: max(3, _HEAD - len(table.ranked))]]
    if len(shown) < _HEAD:
        shown += [row for row in table.rows if not row.ranked and not row.measured]
        shown = shown[:_HEAD]
    columns = min(_COLUMNS, len(table.columns))
    return Excerpt(task_text(board.task), board, table, tuple(shown), columns, others)


def _groups(catalogue: Catalogue) -> set[str]:
    return {g for board in catalogue.boards for table in board.tables for g in table.groups}


def write_index(site: Site, catalogue: Catalogue) -> None:
    """Write `index.html`."""
    excerpts = []
    plots: list[tuple[Plot, Board]] = []
    for task in catalogue.tasks:
        boards = catalogue.of_task(task)
        excerpts.append(excerpt(boards[0], len(boards) - 1))
        plots += [(plot, boards[0]) for plot in rate_plots(main_table(boards[0]))[:1]]
    rows = [row for _, _, row in catalogue.rows()]
    site.page(
        "index.html",
        "index.html",
        excerpts=excerpts,
        plots=plots[:2],
        systems=len({row.name for row in rows}),
        datasets=len({board.dataset for board in catalogue.boards}),
        records=len(rows),
        newest=catalogue.newest,
        releases=", ".join(sorted({row.release for row in rows})),
        boards=sorted(catalogue.boards, key=lambda b: (catalogue.tasks.index(b.task), b.name)),
        titles={task: task_text(task).title for task in catalogue.tasks},
        groups=sorted(g for g in _groups(catalogue) if ":" not in g),
        problems=len(catalogue.problems),
        agreement=task_agreement(catalogue),
    )
