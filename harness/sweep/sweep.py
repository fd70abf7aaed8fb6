"""Working through a sweep: what is done is passed over, what ends is written down at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .attempt import Attempt
from .cells import SweepCell
from .engines import Engine
from .state import SweepState


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Cells and their last attempts, in the order of the grid."""

    cells: Sequence[SweepCell]
    attempts: Sequence[Attempt]

    @property
    def unfinished(self) -> list[tuple[SweepCell, Attempt]]:
        """Cells that failed, were refused or stopped."""
        pairs = zip(self.cells, self.attempts, strict=True)
        return [(cell, attempt) for cell, attempt in pairs if attempt.verdict != "done"]

    @property
    def stale(self) -> list[SweepCell]:
        """Cells whose records other code measured."""
        pairs = zip(self.cells, self.attempts, strict=True)
        return [cell for cell, attempt in pairs if attempt.status == "stale"]


def work_through(
    cells: Sequence[SweepCell],
    engine: Engine,
    output: Path,
    done: Mapping[str, Attempt],
    *,
    started: Callable[[SweepCell], None] = lambda _: None,
    ended: Callable[[SweepCell, Attempt], None] = lambda _, __: None,
) -> SweepResult:
    """Run every cell that is not done; may be stopped at any moment and called again.

    Args:
        cells: of the sweep.
        engine: runs them.
        output: results directory.
        done: finished attempts by cell (see `recorded`).
        started: told of a cell that begins.
        ended: told of a cell that ended, after it was written down.

    Raises:
        KeyboardInterrupt: as it came; the cells that ran are ended first.
    """
    state = SweepState(output)
    known = dict(done)
    by_key = {cell.key: cell for cell in cells}
    left = [cell for cell in cells if cell.key not in known]
    with closing(engine.run(left, started)) as ends:
        for found in ends:
            state.add(found)
            known[found.key] = found
            ended(by_key[found.key], found)
    return SweepResult(cells, [known[cell.key] for cell in cells])
