"""What was added, measured again, taken back or redefined, and which files were refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .catalogue import Catalogue
from .render import Site, environment
from .tasks import task_text

_MOST = 400
_IN_FEED = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One record's arrival, and what became of it."""

    time: str
    name: str
    where: str
    run: str
    what: str
    """`added`, `measured again`, `replaced by a newer record`, `withdrawn` ..."""
    reason: str


@dataclass(frozen=True, slots=True)
class Redefinition:
    """A board with tables of other definitions on one track."""

    board: str
    where: str
    track: str
    metrics: tuple[str, ...]
    """Metric, then the definitions of each table."""


def write_changes(site: Site, catalogue: Catalogue) -> None:
    """Write `changes.html` and the Atom feed `changes.xml`."""
    found = sorted(changes(catalogue), key=lambda c: (c.time, c.run), reverse=True)
    site.page(
        "changes.html",
        "changes.html",
        changes=found[:_MOST],
        total=len(found),
        redefinitions=list(redefinitions(catalogue)),
        problems=catalogue.problems,
    )
    text = environment().get_template("changes.xml").render(
        changes=found[:_IN_FEED], newest=catalogue.newest
    )  # fmt: skip
    site.write("changes.xml", text.encode("utf-8", errors="replace"))


def changes(catalogue: Catalogue) -> Iterator[Change]:
    """One change for each record."""
    seen: set[str] = set()
    for board in catalogue.boards:
        where = f"{task_text(board.task).title} on {board.subject}"
        for table in board.tables:
            again = {row.name for row in table.superseded}
            for row in table.rows:
                if row.run not in seen:
                    seen.add(row.run)
                    what = "measured again" if row.name in again else "added"
                    if row.mark.word in ("withdrawn", "suspect", "verified", "reproduced"):
                        what += f", {row.mark.word}"
                    reason = row.mark.reason or row.status_reason
                    yield Change(row.created, row.name, where, row.run, what, reason)
            for row in table.superseded:
                if row.run not in seen:
                    seen.add(row.run)
                    what = "added, since replaced by a newer record"
                    yield Change(row.created, row.name, where, row.run, what, row.status_reason)


def redefinitions(catalogue: Catalogue) -> Iterator[Redefinition]:
    """Boards whose tables of one track differ in definitions."""
    for board in catalogue.boards:
        for track in dict.fromkeys(table.track for table in board.tables):
            tables = [table for table in board.tables if table.track == track]
            if len(tables) < 2:
                continue
            lines = []
            for key in dict.fromkeys(c.key for table in tables for c in table.columns):
                columns = [c for table in tables for c in table.columns if c.key == key]
                definitions = dict.fromkeys(c.definition for c in columns if c.definition)
                if len(definitions) > 1:
                    lines.append(f"{columns[0].title}: {' / '.join(definitions)}")
            where = f"{task_text(board.task).title} on {board.subject}"
            yield Redefinition(board.name, where, track, tuple(lines))
