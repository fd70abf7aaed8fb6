"""The objects of a JSON list, one by one: a file of a gigabyte costs the memory of one object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..documents import refuse_halves, require_file
from ..errors import UsageError
from ..passing import run_again_if_passing

_CHUNK = 1 << 20
_LARGEST = 16 << 20
"""Characters of one object; more means that its end is missing."""
_BLANK = " \t\r\n"


def iter_json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of the list that the file holds.

    Raises:
        UsageError: unreadable, not UTF-8, not a list of objects, or cut off; the message names
            the file and the line. Objects before the damage have been yielded by then.
    """
    try:
        require_file(path)
        with path.open(encoding="utf-8-sig") as file:
            yield from _Reader(path, file).rows()
    except (OSError, ValueError) as error:
        run_again_if_passing(error, path)
        message = f"{path}: cannot be read ({error}). Damaged: fetch it again."
        raise UsageError(message) from error


class _Reader:
    """A window on the text, which moves forward."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.file = path, file
        self.text, self.position, self.lines_before = "", 0, 0
        self.decoder = json.JSONDecoder()

    def rows(self) -> Iterator[dict[str, Any]]:
        self.expect("[", "a list of objects must begin here")
        character = self.peek()
        while character != "]":
            if character != "{":
                raise self.broken("an object must begin here", self.position)
            yield self.take_object()
            character = self.peek()
            if character != "]":
                self.expect(",", "a comma or the list's end is missing")
                character = self.peek()
        self.position += 1
        if self.peek():
            raise self.broken("text follows the list", self.position)

    def expect(self, character: str, problem: str) -> None:
        if self.peek() != character:
            raise self.broken(problem, self.position)
        self.position += 1

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self.position < len(self.text):
                if self.text[self.position] not in _BLANK:
                    return self.text[self.position]
                self.position += 1
            if not self.read_on():
                return ""

    def take_object(self) -> dict[str, Any]:
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
                refuse_halves(self.text[self.position : end], value)
            except json.JSONDecodeError as error:
                fault = error
            except (ValueError, RecursionError) as error:  # a number or a depth without end
                raise self.broken(str(error), self.position) from error
            else:
                self.position = end
                return value
            if len(self.text) - self.position > _LARGEST or not self.read_on():
                raise self.broken(fault.msg, fault.pos) from fault

    def read_on(self) -> bool:
        """Drop what was consumed and append a chunk; False at the end of the file."""
        chunk = self.file.read(_CHUNK)
        if chunk:
            self.lines_before += self.text.count("\n", 0, self.position)
            self.text = self.text[self.position :] + chunk
            self.position = 0
        return bool(chunk)

    def broken(self, problem: str, position: int) -> UsageError:
        line = self.lines_before + self.text.count("\n", 0, position) + 1
        message = (
            f"{self.path}: line {line}: not valid JSON here ({problem}). Truncated or damaged: "
            "fetch it again."
        )
        return UsageError(message)
