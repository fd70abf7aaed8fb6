"""`manifest:FILE`: a CSV or Parquet table of image files.

Columns: `path` (relative to the table or absolute) and `modality` are required; `id`, `label`,
`patient`, `mask` (path of a mask image: non-zero is lesion), `split`, `window_low`,
`window_high` and `bias` are optional.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from .card import Card
from .dataset import Item, pick_per_group
from .folder import check_modalities, find_path
from .images import Window, decode_file

_REQUIRED = ("path", "modality")
_OPTIONAL = ("id", "label", "patient", "mask", "split", "window_low", "window_high", "bias")


@dataclass(frozen=True, slots=True)
class ManifestDataset:
    """The rows of one table (of one split, where a split is asked for)."""

    id: str
    table: Path
    rows: tuple[dict[str, Any], ...]
    card: Card
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Rows in the table's order."""
        return pick_per_group([self._item(row) for row in self.rows], limit)

    def _item(self, row: dict[str, Any]) -> Item:
        path = self.table.parent / str(row["path"])
        window = _window(row, self.table)
        mask = self.table.parent / str(row["mask"]) if row.get("mask") else None
        return Item(
            id=str(row.get("id") or row["path"]),
            group=str(row["modality"]),
            load=partial(decode_file, path, window=window),
            content_key=partial(_content_key, path, mask, window),
            label=_text(row, "label"),
            patient=_text(row, "patient"),
            load_mask=partial(_read_mask, mask) if mask else None,
        )


def _check_inside(table: Path, number: int, row: dict[str, Any]) -> None:
    """Refuse a relative path that climbs out of the table's folder."""
    for column in ("path", "mask"):
        given = str(row.get(column) or "")
        if Path(given).is_absolute():
            continue
        if Path(os.path.normpath(given)).parts[:1] == (os.pardir,):
            message = (
                f"{table}: row {number}: {column} {given!r} leaves the table's folder. "
                "Move the file below it, or give the absolute path."
            )
            raise UsageError(message)


def _text(row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    return None if value in (None, "") else str(value)


def _content_key(path: Path, mask: Path | None, window: Window | None) -> list[Any]:
    shown = [window.low, window.high, window.bias] if window else None
    return [_hash_or_absence(path), _hash_or_absence(mask) if mask else None, shown]


def _hash_or_absence(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "absent"


def _read_mask(path: Path) -> np.ndarray:
    return decode_file(path).rgb.max(axis=2) > 0


def _window(row: dict[str, Any], table: Path) -> Window | None:
    low, high, bias = (row.get(name) for name in ("window_low", "window_high", "bias"))
    if low is None and high is None:
        return None
    try:
        window = Window(float(low), float(high), float(bias or 0))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        message = f"{table}: {row['path']}: window_low and window_high must both be numbers"
        raise UsageError(message) from error
    if not window.low < window.high:
        message = f"{table}: {row['path']}: window_low {low} is not below window_high {high}"
        raise UsageError(message)
    return window


def read_rows(table: Path) -> list[dict[str, Any]]:
    """The table's rows as plain values, empty cells as None.

    Raises:
        UsageError: unreadable, a required column missing, an unknown column, or no rows.
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
    missing = [column for column in _REQUIRED if column not in frame.columns]
    if missing:
        message = (
            f"{table}: column {missing[0]!r} is missing; "
            f"found {', '.join(map(str, frame.columns))}. "
            f"Required: {', '.join(_REQUIRED)}; optional: {', '.join(_OPTIONAL)}"
        )
        raise UsageError(message)
    if frame.empty:
        message = f"{table}: no rows"
        raise UsageError(message)
    known = [column for column in (*_REQUIRED, *_OPTIONAL) if column in frame.columns]
    cells = frame[known].astype(object)
    cells = cells.where(cells.notna(), None)
    return [
        {name: (None if value == "" else value) for name, value in zip(known, row, strict=True)}
        for row in cells.itertuples(index=False, name=None)
    ]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> ManifestDataset:
    """Make the dataset of `manifest:FILE`, or `manifest@SPLIT:FILE` for the rows of one split."""
    table = find_path(argument, data_root, what="manifest:FILE")
    rows = read_rows(table)
    empty = next((i for i, row in enumerate(rows, 2) if not row["path"] or not row["modality"]), 0)
    if empty:
        message = f"{table}: row {empty}: path and modality must not be empty"
        raise UsageError(message)
    for number, row in enumerate(rows, 2):
        _check_inside(table, number, row)
    if variant:
        splits = sorted({str(row.get("split")) for row in rows})
        rows = [row for row in rows if row.get("split") == variant]
        if not rows:
            message = f"{reference}: no row has split {variant!r}; found: {', '.join(splits)}"
            raise UsageError(message)
    groups = sorted({str(row["modality"]) for row in rows})
    check_modalities(groups, where=str(table))
    ids = [str(row.get("id") or row["path"]) for row in rows]
    twice = next((i for i in ids if ids.count(i) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None:
        message = f"{table}: {twice!r} occurs more than once; ids (or paths) must differ"
        raise UsageError(message)
    name = f"manifest{'@' + variant if variant else ''}:{table.name}"
    card = Card.model_validate(
        {
            "id": name,
            "title": f"Images listed in {table.name}",
            "source": "a table on this machine",
            "licence": "unknown",
            "modalities": groups,
            "splits": {variant or "all": len(rows)},
            "layout": "verified (columns checked)",
            "patient_key": "patient" if any(row.get("patient") for row in rows) else None,
            "how_to_get": "the user's own files",
        }
    )
    return ManifestDataset(
        id=name, table=table, rows=tuple(rows), card=card, split=variant or "all"
    )
