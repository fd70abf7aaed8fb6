"""A sweep in words: what will be run, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .attempt import Attempt
from .board import told
from .cells import SweepCell
from .costs import table_machine
from .estimate import Estimate, estimate
from .spec import SweepSpec
from .state import SweepState
from .sweep import SweepResult

_STALE = "measured by other code; --force measures them again"


def plan_text(
    spec: SweepSpec, cells: Sequence[SweepCell], done: Mapping[str, Attempt], output: Path
) -> str:
    """Every cell with its state, and what the unfinished ones will take."""
    lines = [f"{_state(done.get(cell.key)):>6}  {cell.title}" for cell in cells]
    left = sum(cell.key not in done for cell in cells)
    lines.append(f"{len(cells)} cells, {left} to run")
    if stale := sum(_state(done.get(cell.key)) == "stale" for cell in cells):
        lines.append(f"{stale} stale: {_STALE}")
    if left:
        lines += _estimate_lines(estimate(spec, cells, done, output), left)
    return "\n".join(lines)


def _state(attempt: Attempt | None) -> str:
    if attempt is None:
        return "to run"
    return "stale" if attempt.status == "stale" else "done"


def _estimate_lines(guess: Estimate, left: int) -> list[str]:
    lines = []
    if guess.known:
        which = "" if guess.known == left else f" for {guess.known} of them"
        lines.append(
            f"about {guess.seconds / 60:.1f} minutes on one machine, {guess.slots} at a time, and "
            f"{guess.bytes_kept / 1e6:.1f} MB of results{which} (the cache is not counted)"
        )
    if guess.tabled:
        lines.append(f"{guess.tabled} of these by a table that was measured on {table_machine()}")
    if guess.unknown:
        kinds = ", ".join(f"{count} of {kind}" for kind, count in guess.unknown.items())
        lines.append(
            f"time and disk unknown for {guess.unknown.total()} cells ({kinds}): none of their "
            "task, data set and options has been run here"
        )
    return lines


def result_text(result: SweepResult, output: Path) -> str:
    """How many cells are done, which are stale, and each that is not done with its log."""
    state = SweepState(output)
    done = len(result.cells) - len(result.unfinished)
    lines = [f"{done} of {len(result.cells)} cells are done, records below {output}"]
    if result.stale:
        lines.append(f"{len(result.stale)} of them are stale, {_STALE}:")
        lines += [f"- {cell.title}" for cell in result.stale]
    for cell, attempt in result.unfinished:
        lines.append(f"- {told(cell, attempt)} (log: {state.log(cell.key)})")
    return "\n".join(lines)
