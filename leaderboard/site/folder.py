"""One folder of results (a task on a dataset) into its pages; what other pages need is kept.

A folder holds all records of its boards, so that a site of any size is built with the records of
one folder in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...harness.record import Record
from ...harness.record_files import Problem, Stored, no_collection
from ..boards import boards, by_track
from ..trust import TRACKS, Marks, Track
from .answers import Answer, answers
from .downloads import write_downloads, write_scripts
from .gallery import Picture, gallery
from .load import read_folder
from .names import board_name, page_name
from .page_board import write_board
from .page_run import Run, Shown, write_run
from .render import Site
from .sheet import sheet_of
from .views import Board, table_of

_PICKS = 6
"""Pictures of a run that its tokenizer's page shows."""


@dataclass(slots=True)
class Built:
    """What one folder became."""

    boards: list[Board] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    """A few seeded picks of each run, by the name of its page."""
    records: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from, and what maintainers said of them."""

    results: Path
    marks: Marks


def build_folder(site: Site, source: Source, paths: Sequence[Path]) -> Built:
    """Write the pages of a folder's records: boards, runs, pictures, downloads, raw files."""
    with no_collection():
        folder = read_folder(source.results, paths)
        built = Built(problems=list(folder.problems), records=len(folder.stored))
        by_board: dict[str, list[Stored]] = {}
        for stored in folder.stored:
            by_board.setdefault(board_name(stored.record), []).append(stored)
        for name in sorted(by_board):
            built.boards.append(_build_board(site, source, name, by_board[name], built))
    return built


def _build_board(
    site: Site, source: Source, name: str, members: Sequence[Stored], built: Built
) -> Board:
    groups = _tables([stored.record for stored in members])
    read = [(stored, sheet_of(stored.record, source.marks)) for stored in members]
    sheets = {sheet.run: sheet for _, sheet in read}
    tables = [
        table_of(group, sheets, board=name, id_=f"table-{number}", track=track)
        for number, (track, group) in enumerate(groups, start=1)
    ]
    facts = groups[0][1][0].dataset
    board = Board(name, groups[0][1][0].task, facts, page_name(facts.id), tuple(tables))
    galleries = {
        sheet.record.full_name: _build_run(site, source, stored, Run(sheet, name), built)
        for stored, sheet in read
    }
    records = {
        table.id: {row.name: sheets[row.run].record for row in table.rows} for table in tables
    }
    write_board(site, board, records, galleries)
    write_downloads(site, board, records)
    write_scripts(site, board, records, galleries)
    return board.short()


def _tables(members: Sequence[Record]) -> list[tuple[Track, list[Record]]]:
    """Track and records of each table: in the order of the tracks, newest definitions first."""
    found = [item for group in boards(members) for item in by_track(group).items()]

    def newest(group: Sequence[Record]) -> tuple[str, int]:
        return max(record.created for record in group), len(group)

    found.sort(key=lambda item: newest(item[1]), reverse=True)
    return sorted(found, key=lambda item: TRACKS.index(item[0]))


def _build_run(site: Site, source: Source, stored: Stored, run: Run, built: Built) -> list[Picture]:
    pictures, refused = gallery(site, stored)
    built.problems += [Problem(stored.path, reason) for reason in refused]
    folders = stored.path.relative_to(source.results).parts[:-1]
    raw = "/".join(["data", "records", *folders, stored.path.name])
    site.copy(raw, stored.path)
    if picks := [picture for picture in pictures if picture.why == "pick"][:_PICKS]:
        built.pictures[run.sheet.run] = picks
    asked: list[Answer] = []
    try:
        asked = answers(stored, pictures)
    except ValueError as error:
        built.problems.append(Problem(stored.path, str(error)))
    write_run(site, run, raw=raw, shown=Shown(pictures, asked))
    return pictures
