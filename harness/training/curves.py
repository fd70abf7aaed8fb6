"""The curve of a run: one JSON line for every few steps."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_bytes

_LOG = logging.getLogger(__name__)


class Curve:
    """Collects readings of steps and appends their means to a JSON-lines file.

    Args:
        path: the file; lines of steps that are about to be repeated are dropped from it. None
            writes nothing.
        steps: steps of the whole run, for the time left.
        log_every: steps per line.
        first_step: where the run starts or resumes.
    """

    def __init__(self, path: Path | None, *, steps: int, log_every: int, first_step: int) -> None:
        self._path = path
        self._steps = steps
        self._every = log_every
        self._sums: dict[str, float] = {}
        self._count = 0
        self._images = 0
        self._since = time.monotonic()
        self._drop_from(first_step)

    def _drop_from(self, first_step: int) -> None:
        if self._path is None or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if int(json.loads(line)["step"]) <= first_step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # the line that a kill cut short
        write_bytes(self._path, "".join(line + "\n" for line in kept).encode())

    def state_dict(self) -> dict[str, Any]:
        """The sums of the line in progress."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a line in progress."""
        self._sums = dict(state["sums"])
        self._count = int(state["count"])

    def add(self, step: int, readings: Mapping[str, float], *, images: int) -> None:
        """Take in step `step` (counted from 0); write a line when it is due."""
        for name, value in readings.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._images += images
        done = step + 1
        if self._path is not None and (done % self._every == 0 or done == self._steps):
            self._write(done, self._path)

    def _write(self, done: int, path: Path) -> None:
        seconds = max(time.monotonic() - self._since, 1e-9)
        means = {name: total / self._count for name, total in self._sums.items()}
        line = {"step": done, **means, "images_per_second": self._images / seconds}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        left = (self._steps - done) * seconds / self._count
        shown = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        _LOG.info(
            "step %d/%d  %s  %.1f images/s  %.0f min left",
            done,
            self._steps,
            shown,
            line["images_per_second"],
            left / 60,
        )
        self._sums, self._count, self._images = {}, 0, 0
        self._since = time.monotonic()
