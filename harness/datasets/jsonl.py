"""`jsonl:FILE`, `jsonl@SPLIT:FILE`: image files listed as JSON objects, one a line.

The form that MedITok's repository uses: `identifier`, `modality`, and what `rows` lists besides.
A file whose first character is `[` is read as one JSON list, because files of both forms go by
the suffix `.jsonl`. Lines that are no JSON object stay as failing items; a list that is damaged
keeps the objects before the damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from ..documents import parse_json, require_file
from ..errors import UsageError
from .folder import find_path
from .json_rows import iter_json_rows
from .rows import RawRow, check_rows
from .rows_dataset import RowsDataset, rows_dataset

LONGEST_LINE_BYTES = 16 << 20


def read_rows(path: Path) -> Iterator[RawRow]:
    """Lines (numbered as in an editor, blank ones left out), or objects of a list (from 1).

    Raises:
        UsageError: the file cannot be opened.
    """
    try:
        require_file(path)
        with path.open("rb") as file:
            first = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
            file.seek(0)
            yield from _list_rows(path) if first == b"[" else _line_rows(file)
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
        raise UsageError(message) from error


def _line_rows(file: IO[bytes]) -> Iterator[RawRow]:
    lines = iter(partial(file.readline, LONGEST_LINE_BYTES), b"")
    for number, line in enumerate(lines, 1):
        if len(line) == LONGEST_LINE_BYTES:
            yield RawRow(number, None, f"more than {LONGEST_LINE_BYTES:,} bytes; the rest is lost")
            return
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        try:
            value = parse_json(text)
        except ValueError as error:
            yield RawRow(number, None, f"not valid JSON ({error})")
            continue
        if isinstance(value, dict):
            yield RawRow(number, value)
        else:
            yield RawRow(number, None, f"an object is expected, found {type(value).__name__}")


def _list_rows(path: Path) -> Iterator[RawRow]:
    number = 0
    try:
        for number, value in enumerate(iter_json_rows(path), 1):
            yield RawRow(number, value)
    except UsageError as error:
        yield RawRow(number + 1, None, str(error))


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> RowsDataset:
    """Make the dataset of all lines, or of those whose `split` is the variant.

    Raises:
        MissingPrerequisite: no such file.
        UsageError: not a file, or no line that can be used; names the first ones.
    """
    path = find_path(argument, data_root, what="jsonl:FILE")
    rows = list(check_rows(path, read_rows(path)))
    return rows_dataset(reference, path, rows, split=variant)
