"""What a person sees of a run in progress: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..progress import LINE_EVERY_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from rich.progress import Progress

_LOG = logging.getLogger(__name__)
_REDRAW_SECONDS = 0.5
_SHOWN = 5
"""Readings in the bar and in a line."""
_BACKGROUND = ("learning_rate", "gradient_norm", "steps_per_second", "images_per_second")
"""Readings that are said in another way, or matter less."""


class StepDisplay:
    """Steps, main losses, speed and time left, on standard error.

    Args:
        steps: of the whole run.
        first_step: where the run starts or resumes.
    """

    def __init__(self, *, steps: int, first_step: int) -> None:
        self._steps = steps
        self._done = first_step
        self._drawn = self._logged = self._began = time.monotonic()
        self._bar = _Bar(steps, first_step) if sys.stderr.isatty() else None

    def step(self, done: int, images: int, means: Callable[[], Mapping[str, float]]) -> None:
        """Show that `done` steps are done; `means` are asked for only where they are shown."""
        self._done = done
        now = time.monotonic()
        if self._bar is None or now - self._drawn < _REDRAW_SECONDS:
            return
        if now - self._began > PATIENCE_SECONDS:
            self._bar.draw(done, images, _summary(means()))
            self._drawn = now

    def line(self, line: Mapping[str, float]) -> None:
        """Log a line of the curve where it is time for one."""
        now = time.monotonic()
        last = self._done == self._steps
        if self._bar is not None or (now - self._logged < LINE_EVERY_SECONDS and not last):
            return
        self._logged = now
        speed = line["steps_per_second"]
        _LOG.info(
            "step %d/%d  %s  %.2f steps/s  %.1f images/s  %.0f min left",
            self._done,
            self._steps,
            _summary(line),
            speed,
            line["images_per_second"],
            (self._steps - self._done) / speed / 60,
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def _summary(means: Mapping[str, float]) -> str:
    main = [name for name in means if name not in (*_BACKGROUND, "step")]
    return "  ".join(f"{name} {means[name]:.4g}" for name in main[:_SHOWN])


class _Bar:
    """A bar that is drawn when asked, by no thread of its own: those cost the training time."""

    def __init__(self, steps: int, first_step: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[summary]}"),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
        )
        self._task = self._progress.add_task(
            "training", total=steps, completed=first_step, speed="", summary=""
        )
        self._redirected: list[tuple[logging.StreamHandler, object]] = []
        self._shown = False

    def draw(self, done: int, images: int, summary: str) -> None:
        """Draw it anew."""
        if not self._shown:
            self._progress.start()
            self._redirect_logs()
            self._shown = True
        rate = self._progress.tasks[0].speed
        speed = f"{rate:.2f} steps/s {rate * images:.1f} images/s" if rate else ""
        self._progress.update(
            self._task, completed=done, speed=speed, summary=summary, refresh=True
        )

    def close(self) -> None:
        """Take it away."""
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected = []
        if self._shown:
            self._progress.stop()
            self._shown = False

    def _redirect_logs(self) -> None:
        """Send log lines through the bar's stand-in for standard error, above the bar."""
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler and handler.stream is sys.__stderr__:
                self._redirected.append((handler, handler.setStream(sys.stderr)))
