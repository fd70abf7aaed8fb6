"""Working through a sweep: what is done is passed over, what ends is written down at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        """Cells that failed or were refused."""
        pairs = zip(self.cells, self.attempts, strict=True)
        return [(cell, attempt) for cell, attempt in pairs if attempt.verdict != "done"]


def done_so_far(output: Path) -> dict[str, Attempt]:
    """Attempts whose record is there, by cell."""
    found = SweepState(output).latest()
    return {k: a for k, a in found.items() if a.verdict == "done" and (output / a.record).is_file()}


def work_through(
    cells: Sequence[SweepCell],
    engine: Engine,
    output: Path,
    *,
    started: Callable[[SweepCell], None] = lambda _: None,
    ended: Callable[[SweepCell, Attempt], None] = lambda _, __: None,
) -> SweepResult:
    """Run every cell that is not done; may be stopped at any moment and called again."""
    state = SweepState(output)
    known = done_so_far(output)
    by_key = {cell.key: cell for cell in cells}
    left = [cell for cell in cells if cell.key not in known]
    for found in engine.run(left, started):
        state.add(found)
        known[found.key] = found
        ended(by_key[found.key], found)
    return SweepResult(cells, [known[cell.key] for cell in cells])
