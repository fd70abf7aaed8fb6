"""`manifest:FILE`: a CSV or Parquet table of image files; its columns are the fields of `rows`.

The tables that MedITok's repository trains from (`identifier`, `caption`, `modality`,
`dataset_name`) are read as they are.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .folder import find_path
from .rows import OPTIONAL, PATH_FIELDS, RawRow, RowsDataset, check_rows, rows_dataset

ManifestDataset = RowsDataset
"""The name under which the audit knows tables with splits."""


def read_rows(table: Path) -> list[RawRow]:
    """The table's rows as plain values, numbered as in an editor (the header is row 1).

    Raises:
        UsageError: unreadable, or a required column missing.
    """
    import pandas as pd

    try:
        if table.suffix.lower() == ".parquet":
            frame = pd.read_parquet(table)
        else:
            frame = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except Exception as error:
        message = f"{table}: not a readable CSV or Parquet table ({error})"
        raise UsageError(message) from error
    has_path = any(column in frame.columns for column in PATH_FIELDS)
    missing = "" if has_path else PATH_FIELDS[0]
    missing = missing or ("" if "modality" in frame.columns else "modality")
    if missing:
        message = (
            f"{table}: column {missing!r} is missing; "
            f"found {', '.join(map(str, frame.columns))}. "
            f"Required: {' or '.join(PATH_FIELDS)}, modality; optional: {', '.join(OPTIONAL)}"
        )
        raise UsageError(message)
    known = [c for c in (*PATH_FIELDS, "modality", *OPTIONAL) if c in frame.columns]
    cells = frame[known].astype(object)
    cells = cells.where(cells.notna(), None)
    return [
        RawRow(number, dict(zip(known, values, strict=True)))
        for number, values in enumerate(cells.itertuples(index=False, name=None), 2)
    ]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> RowsDataset:
    """Make the dataset of `manifest:FILE`, or `manifest@SPLIT:FILE` for the rows of one split.

    Raises:
        MissingPrerequisite: no such file.
        UsageError: not a table, a required column missing, or no row that can be used.
    """
    table = find_path(argument, data_root, what="manifest:FILE")
    rows = check_rows(table, read_rows(table))
    return rows_dataset(reference, table, rows, split=variant)
