"""The curve of a run: means of its readings over every few steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any


class Curve:
    """Collects the readings of steps; gives their means when a line is due.

    Args:
        steps: steps of the whole run.
        log_every: steps per line.
    """

    def __init__(self, *, steps: int, log_every: int) -> None:
        self._steps = steps
        self._every = log_every
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._start_timing()

    def _start_timing(self) -> None:
        self._since = time.monotonic()
        self._timed_steps = 0
        self._timed_images = 0

    def state_dict(self) -> dict[str, Any]:
        """The line in progress."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a line in progress."""
        self._sums = dict(state["sums"])
        self._counts = dict(state["counts"])

    @property
    def means(self) -> dict[str, float]:
        """Of the line in progress; each reading's over the steps that had it."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def add(
        self, step: int, readings: Mapping[str, float], *, images: int
    ) -> dict[str, float] | None:
        """Take in step `step` (counted from 0).

        Readings that are no finite number (a gradient that overflowed under a loss scale) are left
        out.

        Returns:
            The line where one is due: `step` (steps done), means, `steps_per_second` and
            `images_per_second`; else None.
        """
        for name, value in readings.items():
            if math.isfinite(value):
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
        self._timed_steps += 1
        self._timed_images += images
        done = step + 1
        if done % self._every and done != self._steps:
            return None
        seconds = max(time.monotonic() - self._since, 1e-9)
        line = {
            "step": done,
            **self.means,
            "steps_per_second": self._timed_steps / seconds,
            "images_per_second": self._timed_images / seconds,
        }
        self._sums, self._counts = {}, {}
        self._start_timing()
        return line
