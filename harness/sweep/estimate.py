"""How long a sweep will take and what it will keep, from the cells that have been run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .attempt import Attempt
from .cells import SweepCell
from .spec import SweepSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of the cells that are still to be run, as far as their like has been run here.

    Attributes:
        known: cells whose like has been run.
        seconds: wall clock of these.
        bytes_kept: by their records and galleries.
        unknown: the others: how many of each task and data set.
    """

    known: int
    seconds: float
    bytes_kept: int
    unknown: Counter[str]


def estimate(
    spec: SweepSpec,
    cells: Sequence[SweepCell],
    done: Mapping[str, Attempt],
    output: Path,
) -> Estimate:
    """Sum the medians of finished cells of the same task, data set and options.

    Args:
        spec: says how many run at a time.
        cells: all of the sweep.
        done: finished attempts by cell.
        output: results directory, where their records lie.
    """
    seconds: dict[tuple, list[float]] = {}
    kept: dict[tuple, list[int]] = {}
    for cell in cells:
        if cell.key in done:
            found = done[cell.key]
            seconds.setdefault(_like(cell), []).append(found.seconds)
            kept.setdefault(_like(cell), []).append(_bytes_beside(output / found.record))
    left = [cell for cell in cells if cell.key not in done]
    known = [_like(cell) for cell in left if _like(cell) in seconds]
    others = [f"{cell.task} on {cell.dataset}" for cell in left if _like(cell) not in seconds]
    return Estimate(
        known=len(known),
        seconds=sum(median(seconds[like]) for like in known) / (len(spec.devices) * spec.at_a_time),
        bytes_kept=sum(int(median(kept[like])) for like in known),
        unknown=Counter(others),
    )


def _bytes_beside(record: Path) -> int:
    """Of the record, its rows and its gallery."""
    files = [*record.parent.glob(f"{record.stem}.*"), *record.parent.glob(f"{record.stem}.*/**/*")]
    return sum(path.stat().st_size for path in files if path.is_file())


def _like(cell: SweepCell) -> tuple:
    return (cell.task, cell.dataset, cell.limit, cell.options)
