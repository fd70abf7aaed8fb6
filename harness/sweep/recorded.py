"""Which cells of a sweep have their records already, by the rules of `medbench run` itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import MedbenchError
from ..request import CellResult
from ..runner import execute
from .attempt import Attempt
from .cells import SweepCell
from .state import SweepState


def recorded(cells: Sequence[SweepCell], output: Path) -> dict[str, Attempt]:
    """Finished attempts whose record `medbench run` would answer from now, by cell.

    A record of other weights or data than those of now, or one that does not load, is none; one of
    other code has the status `stale`. Nothing is measured, and no torch is needed.
    """
    latest = SweepState(output).latest()
    alike: dict[SweepCell, list[SweepCell]] = {}
    for cell in cells:
        last = latest.get(cell.key)
        if last is not None and last.verdict == "done" and _is_file(output / last.record):
            alike.setdefault(replace(cell, tokenizer="", own=()), []).append(cell)
    return {
        cell.key: replace(
            latest[cell.key],
            record=str(answer.path.relative_to(output)),
            status=answer.record.status,
        )
        for group in alike.values()
        for cell, answer in zip(group, _answers(group, output), strict=False)
        if answer.record is not None and answer.path is not None
    }


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long: whoever shares the folder may write anything
        return False


def _answers(alike: Sequence[SweepCell], output: Path) -> list[CellResult]:
    """Of cells that differ by the tokenizer only, whose images are looked at once."""
    try:
        choices = [cell.choice() for cell in alike]
        request = replace(alike[0].request(output), measure=False)
        return execute(request, choices=choices).cells
    except MedbenchError:  # the cells will say it themselves, when they are run
        return []
