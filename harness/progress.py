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


def track(
    items: Iterable[T], *, total: int, label: str, done: int = 0, each: int = 1
) -> Iterator[T]:
    """Pass `items` through, showing how many of `total` are done, the rate and the time left.

    Args:
        items: what is worked on.
        total: of what is counted.
        label: what is done.
        done: counted before.
        each: how much an item counts; the last one may count less.
    """
    show = _bar if sys.stderr.isatty() else _lines
    yield from show(items, total, label, done, each)


def _bar(items: Iterable[T], total: int, label: str, done: int, each: int) -> Iterator[T]:
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
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task(label, total=total, completed=done, rate="")
    shown = False
    try:
        for count, item in enumerate(items, start=1):
            yield item
            made = min(count * each, total - done)
            rate = _rate(made / max(time.monotonic() - start, 1e-9))
            progress.update(task, completed=done + made, rate=rate)
            if not shown and time.monotonic() - start > PATIENCE_SECONDS:
                progress.start()
                shown = True
    finally:
        if shown:
            progress.stop()


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}/s" if per_second < 1000 else f"{per_second:.0f}/s"


def _lines(items: Iterable[T], total: int, label: str, done: int, each: int) -> Iterator[T]:
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        made = min(count * each, total - done)
        if now - last > LINE_EVERY_SECONDS and done + made < total:
            last = now
            rate = made / (now - start)
            left = (total - done - made) / rate
            message = "%s: %d of %d, %s, about %.0f s left"
            logger.info(message, label, done + made, total, _rate(rate), left)
