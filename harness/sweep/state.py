"""What a sweep remembers of its cells, in the results directory, line by line."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from ..documents import LARGEST_JSON_BYTES, read_file
from ..errors import UsageError
from .attempt import Attempt

logger = logging.getLogger(__name__)

FOLDER = ".sweep"
_LINE = TypeAdapter(Attempt)


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
        """The last attempt of each cell; errors as those of `read_attempts`."""
        return {each.key: each for each in read_attempts(self._path)}


def read_attempts(path: Path) -> list[Attempt]:
    """The attempts of a file, in its order; none where there is no file.

    Lines that are none are passed over with a warning: their cells are asked again.

    Raises:
        UsageError: the file cannot be read, is larger than `LARGEST_JSON_BYTES`, or no file.
    """
    try:
        data = read_file(path, LARGEST_JSON_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        message = f"cannot read {path}: {error}. Remove it: finished cells are found again."
        raise UsageError(message) from error
    lines = [line for line in data.split(b"\n") if line.strip()]
    found = [attempt for attempt in map(_attempt, lines) if attempt is not None]
    if damaged := len(lines) - len(found):
        logger.warning(
            "%s: %d of %d lines are damaged and passed over; their cells are asked again",
            *(path, damaged, len(lines)),
        )
    return found


def _attempt(line: bytes) -> Attempt | None:
    try:
        return _LINE.validate_json(line, strict=True)
    except ValidationError:
        return None


def _byte(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(1)
