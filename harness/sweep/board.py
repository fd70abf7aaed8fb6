"""What a sweep shows while it runs: a live table where a person watches, lines in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from .attempt import Attempt
from .cells import SweepCell

logger = logging.getLogger(__name__)

_SHOWN = 12
"""Rows of the live table; what fails stays in view."""


class Board:
    """The state of every cell; used as a context, told by `started` and `ended`."""

    def __init__(self, cells: Sequence[SweepCell], done: int) -> None:
        self._total, self._done = len(cells), done
        self._running: dict[str, tuple[SweepCell, float]] = {}
        self._ended: list[tuple[SweepCell, Attempt]] = []
        self._failed = 0
        self._begun = time.monotonic()
        self._begun_with = done
        self._lock = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> Board:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, cell: SweepCell) -> None:
        """A cell began; passed over if its end was told first."""
        with self._lock:
            if any(each.key == cell.key for each, _ in self._ended):
                return
            self._running[cell.key] = (cell, time.monotonic())

    def ended(self, cell: SweepCell, attempt: Attempt) -> None:
        """A cell ended."""
        with self._lock:
            self._running.pop(cell.key, None)
            self._ended.append((cell, attempt))
            self._done += 1
            self._failed += attempt.verdict != "done"
        if self._live is None:
            logger.info("[%d/%d] %s", self._done, self._total, told(cell, attempt))

    def _table(self) -> Any:
        from rich.table import Table

        with self._lock:
            running, ended = list(self._running.values()), list(self._ended)
        table = Table(title=self._title(), title_justify="left", box=None)
        for heading in ("", "cell", "seconds", ""):
            table.add_column(heading)
        failed = [pair for pair in ended if pair[1].verdict != "done"]
        fine = [pair for pair in ended if pair[1].verdict == "done"]
        room = max(0, _SHOWN - len(failed) - len(running))
        for cell, attempt in [*failed, *(fine[-room:] if room else [])]:
            mark = attempt.status if attempt.verdict == "done" else attempt.verdict
            table.add_row(mark, cell.title, f"{attempt.seconds:.0f}", attempt.reason[:60])
        for cell, begun in running:
            table.add_row("running", cell.title, f"{time.monotonic() - begun:.0f}", "")
        return table

    def _title(self) -> str:
        seconds = time.monotonic() - self._begun
        here = self._done - self._begun_with
        left = f", about {seconds / here * (self._total - self._done):.0f} s left" if here else ""
        failed = f", {self._failed} not done" if self._failed else ""
        return f"{self._done} of {self._total} cells{failed}{left}"


def told(cell: SweepCell, attempt: Attempt) -> str:
    """One line on what came of a cell."""
    tries = f" in {attempt.tries} tries" if attempt.tries > 1 else ""
    if attempt.verdict == "done":
        status = "" if attempt.status == "ok" else f" ({attempt.status})"
        return f"{cell.title}: done{status}, {attempt.seconds:.0f} s{tries}"
    return f"{cell.title}: {attempt.verdict}{tries}: {attempt.reason}"
