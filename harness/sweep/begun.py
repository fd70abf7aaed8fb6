"""Which cells have begun, where their engine cannot say: from their logs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .cells import SweepCell

_LOOK_SECONDS = 1.0


@contextmanager
def telling_of_begun(
    logs: Mapping[SweepCell, Path], started: Callable[[SweepCell], None]
) -> Generator[None]:
    """Tell of every cell as soon as its log grows, from a thread of its own.

    Args:
        logs: of the cells; every try adds a line to its log before all else.
        started: called once for each cell that begins.
    """
    before = {cell: _size(log) for cell, log in logs.items()}
    stop = threading.Event()

    def look() -> None:
        waiting = dict(logs)
        while waiting and not stop.wait(_LOOK_SECONDS):
            for cell in [each for each, log in waiting.items() if _size(log) != before[each]]:
                del waiting[cell]
                started(cell)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
