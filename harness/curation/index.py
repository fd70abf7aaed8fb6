"""What a finished run leaves beside the images: two Parquet tables, the JSON of masks, counts.

`candidates.parquet` has one row per image that was looked at, with the reason where it was
rejected. `index.parquet` has the kept ones, in the columns that `manifest:` reads.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import write_bytes, write_json
from .unit import Row, Settings

_DROPPED_FROM_INDEX = ("kept", "reason", "detail", "masks_dropped")
_TYPES = {
    "slice": "Int64",
    "width": "Int64",
    "height": "Int64",
    "masks_dropped": "Int64",
    "kept": "bool",
    "window_low": "float64",
    "window_high": "float64",
    "bias": "float64",
}


def check_unique(rows: Sequence[Row]) -> None:
    """Refuse kept images that would share an id or a file.

    Raises:
        UsageError: two sources files lead to the same name.
    """
    taken: dict[str, Row] = {}
    for row in (row for row in rows if row.kept):
        for name in (f"id {row.id}", f"file {row.path}"):
            other = taken.setdefault(name, row)
            if other is not row:
                message = (
                    f"{other.source}/{other.source_file} and {row.source}/{row.source_file} give "
                    f"the same {name}. Rename one of them, and begin again with another --out."
                )
                raise UsageError(message)


def write_tables(rows: Sequence[Row], out: Path) -> None:
    """Write `candidates.parquet`, then `index.parquet`."""
    import pandas as pd

    names = [field.name for field in fields(Row)]
    columns: dict[str, Any] = {
        name: pd.array([getattr(r, name) for r in rows], dtype=_TYPES.get(name, "string"))
        for name in names
        if name != "masks"
    }
    columns["masks"] = [list(row.masks) for row in rows]
    frame = pd.DataFrame(columns)
    _write(frame, out / "candidates.parquet")
    kept = frame.loc[frame["kept"]].drop(columns=list(_DROPPED_FROM_INDEX))
    _write(kept, out / "index.parquet")


def _write(frame: Any, path: Path) -> None:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def write_mask_tables(rows: Sequence[Row], out: Path) -> None:
    """`SAMed2D_v1.json` (image -> masks) and the names of the classes by dataset."""
    kept = [row for row in rows if row.kept]
    write_json(out / "SAMed2D_v1.json", {str(row.path): list(row.masks) for row in kept})
    classes: dict[str, dict[str, int]] = {}
    for row in kept:
        dataset = str(row.path).split("--")[1]
        values = {int(mask.rsplit("--", 1)[1].split("_")[0]) for mask in row.masks}
        named = classes.setdefault(dataset, {})
        named.update({f"label_{value}": value for value in values})
    ordered = {
        dataset: dict(sorted(named.items(), key=lambda item: item[1]))
        for dataset, named in sorted(classes.items())
    }
    write_json(out / "SAMed2D_v1_class_mapping_id.json", ordered)


def counts(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """How many were kept and rejected, by source and reason, and the thresholds with sources."""
    sources = sorted({row.source for row in rows})
    return {
        "rules": settings.rules,
        "format": settings.format,
        **_tally(rows),
        "by_source": {name: _tally([r for r in rows if r.source == name]) for name in sources},
        "masks_kept": sum(len(row.masks) for row in rows if row.kept),
        "masks_dropped": sum(row.masks_dropped for row in rows),
        "thresholds": settings.thresholds.model_dump(mode="json"),
    }


def _tally(rows: Sequence[Row]) -> dict[str, Any]:
    reasons = Counter(row.reason for row in rows if row.reason is not None)
    return {
        "candidates": len(rows),
        "kept": sum(row.kept for row in rows),
        "rejected": dict(sorted(reasons.items())),
    }
