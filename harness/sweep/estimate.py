"""How long a sweep will take and what it will keep, from the cells that have been run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .attempt import Attempt
from .cells import SweepCell
from .spec import SweepSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of the cells that are still to be run.

    Attributes:
        seconds: wall clock; None where no cell of some task and data set has been run.
        unknown: cells whose like has not been run.
        bytes_kept: by finished records and galleries of their like; None where unknown.
    """

    seconds: float | None
    unknown: int
    bytes_kept: int | None


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
    unknown = sum(_like(cell) not in seconds for cell in left)
    if unknown:
        return Estimate(None, unknown, None)
    total = sum(median(seconds[_like(cell)]) for cell in left)
    size = sum(int(median(kept[_like(cell)])) for cell in left)
    return Estimate(total / (len(spec.devices) * spec.at_a_time), 0, size)


def _bytes_beside(record: Path) -> int:
    """Of the record, its rows and its gallery."""
    files = [*record.parent.glob(f"{record.stem}.*"), *record.parent.glob(f"{record.stem}.*/**/*")]
    return sum(path.stat().st_size for path in files if path.is_file())


def _like(cell: SweepCell) -> tuple:
    return (cell.task, cell.dataset, cell.limit, cell.options)
