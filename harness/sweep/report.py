"""A sweep in words: what will be run, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .board import told
from .cells import SweepCell
from .estimate import estimate
from .spec import SweepSpec
from .state import SweepState
from .sweep import SweepResult, done_so_far


def plan_text(spec: SweepSpec, cells: Sequence[SweepCell], output: Path) -> str:
    """Every cell with its state, and what the unfinished ones will take."""
    done = done_so_far(output)
    lines = [f"{'done' if c.key in done else 'to run':>6}  {c.title}" for c in cells]
    guess = estimate(spec, cells, done, output)
    left = sum(cell.key not in done for cell in cells)
    lines.append(f"{len(cells)} cells, {left} to run")
    if guess.unknown:
        lines.append(
            f"time and disk: unknown until one cell of each task, data set and preset has been "
            f"run here ({guess.unknown} cells without a like)"
        )
    elif left and guess.seconds is not None and guess.bytes_kept is not None:
        size = guess.bytes_kept / 1e6
        lines.append(f"about {guess.seconds / 60:.1f} minutes, {size:.1f} MB of results")
    return "\n".join(lines)


def result_text(result: SweepResult, output: Path) -> str:
    """How many cells are done, and each that is not with its log."""
    state = SweepState(output)
    done = len(result.cells) - len(result.unfinished)
    lines = [f"{done} of {len(result.cells)} cells are done, records below {output}"]
    for cell, attempt in result.unfinished:
        lines.append(f"- {told(cell, attempt)} (log: {state.log(cell.key)})")
    return "\n".join(lines)
