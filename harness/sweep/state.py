"""What a sweep remembers of its cells, in the results directory, line by line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from ..errors import UsageError
from .attempt import Attempt

FOLDER = ".sweep"


class SweepState:
    """Attempts so far: `results/.sweep/attempts.jsonl`, and a log for each cell.

    A line is added with one write, so several processes may share a folder; a line that a kill
    cut off is passed over, and its cell is asked again (a finished record answers at once).
    """

    def __init__(self, output: Path) -> None:
        self.folder = output / FOLDER
        self._path = self.folder / "attempts.jsonl"

    def log(self, key: str) -> Path:
        """Where a cell's output goes."""
        return self.folder / "logs" / f"{key}.log"

    def add(self, attempt: Attempt) -> None:
        """Keep an attempt."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            line = (json.dumps(asdict(attempt)) + "\n").encode()
            with self._path.open("ab+", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size and _byte(file, size - 1) != b"\n":  # what a kill cut off stays alone
                    line = b"\n" + line
                file.write(line)
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror or error}"
            raise UsageError(message) from error

    def latest(self) -> dict[str, Attempt]:
        """The last attempt of each cell."""
        if not self._path.is_file():
            return {}
        found: dict[str, Attempt] = {}
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                attempt = Attempt(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[attempt.key] = attempt
        return found


def _byte(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(1)
