"""`manifest:FILE`: a CSV or Parquet table of image files; its columns are the fields of `rows`.

The tables that MedITok's repository trains from (`identifier`, `caption`, `modality`,
`dataset_name`) are read as they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..parquet import column_names, read_table
from .folder import find_path
from .rows import OPTIONAL, PATH_FIELDS, RawRow, check_rows
from .rows_dataset import RowsDataset, rows_dataset

_ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as `surrogateescape` reads them."""

ManifestDataset = RowsDataset
"""The name under which the audit knows tables with splits."""


def read_rows(table: Path) -> Iterator[RawRow]:
    """The table's rows as plain values, numbered as in an editor (the header is row 1).

    A row of a CSV table that spans lines has the number of its last one. A row with more or fewer
    cells than the header, or whose bytes are not UTF-8, stays as one that cannot be read.

    Raises:
        UsageError: unreadable, or a required column missing.
    """
    return _parquet_rows(table) if table.suffix.lower() == ".parquet" else _csv_rows(table)


def _parquet_rows(table: Path) -> Iterator[RawRow]:
    known = _known_columns(table, column_names(table))
    cells = read_table(table, known).astype(object)
    cells = cells.where(cells.notna(), None)
    for number, values in enumerate(cells.itertuples(index=False, name=None), 2):
        yield RawRow(number, dict(zip(known, values, strict=True)))


def _csv_rows(table: Path) -> Iterator[RawRow]:
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = next(reader, [])
            known = _known_columns(table, columns)
            yield from _checked_cells(reader, columns, known)
    except (OSError, csv.Error) as error:
        message = f"{table}: not a readable CSV table ({error})"
        raise UsageError(message) from error


def _checked_cells(reader: Any, columns: list[str], known: list[str]) -> Iterator[RawRow]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(reader.line_num, None, f"not valid CSV ({error})")
            continue
        number = reader.line_num
        if not cells:
            continue
        if len(cells) != len(columns):
            problem = (
                f"{len(cells)} cells, the header has {len(columns)}. "
                "Put a cell with a comma in it between quotes."
            )
            yield RawRow(number, None, problem)
        elif any(_ESCAPED.search(cell) for cell in cells):
            yield RawRow(number, None, "not UTF-8 text. Save the table as UTF-8.")
        else:
            fields = dict(zip(columns, cells, strict=True))
            yield RawRow(number, {name: fields[name] for name in known})


def _known_columns(table: Path, columns: Sequence[str]) -> list[str]:
    """The columns that are read, in the order of the fields."""
    has_path = any(column in columns for column in PATH_FIELDS)
    missing = "" if has_path else PATH_FIELDS[0]
    missing = missing or ("" if "modality" in columns else "modality")
    if missing:
        message = (
            f"{table}: column {missing!r} is missing; found {', '.join(columns) or 'none'}. "
            f"Required: {' or '.join(PATH_FIELDS)}, modality; optional: {', '.join(OPTIONAL)}"
        )
        raise UsageError(message)
    known = [c for c in (*PATH_FIELDS, "modality", *OPTIONAL) if c in columns]
    twice = [column for column in known if list(columns).count(column) > 1]
    if twice:
        message = f"{table}: column {twice[0]!r} occurs more than once. Rename or remove one."
        raise UsageError(message)
    return known


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> RowsDataset:
    """Make the dataset of `manifest:FILE`, or `manifest@SPLIT:FILE` for the rows of one split.

    Raises:
        MissingPrerequisite: no such file.
        UsageError: not a table, a required column missing, or no row that can be used.
    """
    table = find_path(argument, data_root, what="manifest:FILE")
    rows = list(check_rows(table, read_rows(table)))
    return rows_dataset(reference, table, rows, split=variant)
