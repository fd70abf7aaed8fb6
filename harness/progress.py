"""Progress of anything that takes more than two seconds, on standard error.

A bar where a person watches, a plain line now and then where a log does.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""What takes less shows no bar."""
LINE_EVERY_SECONDS = 30.0
"""Between two lines of a log."""


def track(items: Iterable[T], *, total: int, label: str, done: int = 0) -> Iterator[T]:
    """Pass `items` through, showing how many of `total` are done, the rate and the time left."""
    if sys.stderr.isatty():
        yield from _bar(items, total, label, done)
    else:
        yield from _lines(items, total, label, done)


def _bar(items: Iterable[T], total: int, label: str, done: int) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    start = time.monotonic()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task(label, total=total, completed=done)
    shown = False
    try:
        for item in items:
            yield item
            progress.advance(task)
            if not shown and time.monotonic() - start > PATIENCE_SECONDS:
                progress.start()
                shown = True
    finally:
        if shown:
            progress.stop()


def _lines(items: Iterable[T], total: int, label: str, done: int) -> Iterator[T]:
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last > LINE_EVERY_SECONDS and done + count < total:
            last = now
            left = (now - start) / count * (total - done - count)
            logger.info("%s: %d of %d, about %.0f s left", label, done + count, total, left)
