"""A file of JSON lines about the steps of a run, which outlives kills and a full disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_bytes

_LOG = logging.getLogger(__name__)


class StepLines:
    """Lines that each hold a `step`, in a file that only grows.

    A line that cannot be written now is kept and written with the next one that can.

    Args:
        path: the file; None writes nothing.
        last_step: where the run resumes; lines of later steps are dropped, as is what a kill cut
            short.
    """

    def __init__(self, path: Path | None, *, last_step: int) -> None:
        self._path = path
        self._pending = ""
        self._size = 0
        """Of the file, bytes, all of them whole lines."""
        if path is not None and path.exists():
            kept = [line for line in read_lines(path) if line["step"] <= last_step]
            data = "".join(_text(line) for line in kept).encode()
            write_bytes(path, data)
            self._size = len(data)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line."""
        if self._path is not None:
            self._pending += _text(line)
            self.flush()

    def flush(self) -> None:
        """Write what could not be written before; where it still cannot be, say so once."""
        if self._path is None or not self._pending:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                if file.tell() > self._size:  # a part of a line, from an attempt that failed
                    file.truncate(self._size)
                file.write(self._pending.encode())
                file.flush()
                self._size = file.tell()
        except OSError as error:
            if self._pending.count("\n") == 1:
                _LOG.warning("%s cannot be written for now: %s", self._path, error)
        else:
            self._pending = ""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that `StepLines` wrote; none where there is no file."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            if isinstance(line["step"], int):
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # what a kill cut short
    return lines


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(dict(line), allow_nan=False) + "\n"
