"""How long a sweep will take on one machine, and what it will keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .attempt import Attempt
from .cells import SweepCell
from .costs import Costs, tabled
from .spec import SweepSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of the cells that are still to be run, as far as anything is known of them.

    Attributes:
        known: cells whose like has been run here, or is in the table.
        tabled: those of them that only the table knows.
        slots: cells at a time.
        seconds: wall clock of the known ones: never less than the longest takes.
        bytes_kept: by their records and galleries.
        unknown: the others: how many of each task and data set.
    """

    known: int
    tabled: int
    slots: int
    seconds: float
    bytes_kept: int
    unknown: Counter[str]


def estimate(
    spec: SweepSpec,
    cells: Sequence[SweepCell],
    done: Mapping[str, Attempt],
    output: Path,
) -> Estimate:
    """Sum what the unfinished cells take, by those that are finished, else by the table.

    Args:
        spec: says how many run at a time.
        cells: all of the sweep.
        done: finished attempts by cell.
        output: results directory, where their records lie.
    """
    left = [cell for cell in cells if cell.key not in done]
    here = Costs(cells, done, output)
    measured = [cost for cell in left if (cost := here.of(cell))]
    others = [cell for cell in left if here.of(cell) is None]
    known = measured + [cost for cell in others if (cost := tabled(cell))]
    slots = len(spec.devices) * spec.at_a_time
    seconds = [cost.seconds for cost in known]
    return Estimate(
        known=len(known),
        tabled=len(known) - len(measured),
        slots=slots,
        seconds=max(sum(seconds) / slots, max(seconds, default=0.0)),
        bytes_kept=sum(cost.bytes_kept for cost in known),
        unknown=Counter(f"{cell.task} on {cell.dataset}" for cell in others if not tabled(cell)),
    )
