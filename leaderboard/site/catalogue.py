"""All boards of a site, and the few things that overview pages ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .gallery import Picture
from .views import Board, Row, Table


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Boards by name, and some pictures of each run."""

    boards: Sequence[Board]
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    """By the name of a run's page; a few seeded picks."""
    problems: Sequence[str] = ()
    """What was refused, in words."""

    def rows(self) -> Iterator[tuple[Board, Table, Row]]:
        """Every row once, in the table where it is ranked (references: where they come first)."""
        for board in self.boards:
            seen: set[str] = set()
            for table in board.tables:
                for row in table.rows:
                    if row.run not in seen:
                        seen.add(row.run)
                        yield board, table, row

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, the known ones in their usual order."""
        usual = ("recon", "probe", "synthesis", "vqa")
        found = {board.task for board in self.boards}
        return sorted(found, key=lambda t: (usual.index(t) if t in usual else len(usual), t))

    def of_task(self, task: str) -> list[Board]:
        """The task's boards, the one with most ranked rows and images first."""
        return sorted((b for b in self.boards if b.task == task), key=_weight)

    @property
    def newest(self) -> str:
        """Time of the newest record: the site's date."""
        return max((table.newest for board in self.boards for table in board.tables), default="")


def _weight(board: Board) -> tuple[int, int, int, str]:
    table = main_table(board)
    return (-len(table.ranked), -len(table.rows), -board.facts.n, board.name)


def main_table(board: Board) -> Table:
    """The table with most ranked rows; the first of equals."""
    return max(board.tables, key=lambda table: len(table.ranked))
