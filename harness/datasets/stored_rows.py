"""The rows of an ingested dataset: JSON lines on disk, parsed where they are asked for."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..on_demand import OnDemand


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One row of the manifest beside the array."""

    id: str
    group: str
    sha256: str
    """Of the stored uint8 (H, H, 3) pixels."""
    label: str | None
    patient: str | None
    native_width: int
    native_height: int
    notes: tuple[str, ...]


class StoredRows(OnDemand[StoredImage]):
    """Rows of a finished file, in order; memory holds eight bytes a row.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, or (where a row is read) not JSON.
        TypeError: where a row is read that has other fields.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            ends = np.fromiter((len(line) for line in file), np.int64).cumsum()
        self._starts = np.concatenate([np.zeros(1, np.int64), ends])

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the file again."""
        return StoredRows, (self._path,)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def made(self, place: int) -> StoredImage:
        """The row at a place."""
        fields = json.loads(self._text[self._starts[place] : self._starts[place + 1]])
        return StoredImage(**fields | {"notes": tuple(fields["notes"])})
