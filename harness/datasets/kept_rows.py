"""Long lists on disk: read once, then each row where it is asked for.

The rows of a table or of shards become JSON lines and the places where they begin, mapped into
memory in every process that asks: millions of rows cost a process next to nothing, and another
process is sent the folder's name.
"""

from __future__ import annotations

import json
import logging
import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exclusive import exclusive
from ..files import hash_value
from ..locations import cache_root
from ..on_demand import OnDemand
from ..sealed import is_whole, sealed_sha256, sealed_writer
from .dataset import Item

logger = logging.getLogger(__name__)

_VERSION = 1
_ROWS, _STARTS = "rows.jsonl", "starts.i64"
_START = np.dtype("<i8")


@dataclass(frozen=True)
class KeptRows(OnDemand[Any]):
    """Rows of a finished list, in order, each as plain JSON gives it."""

    folder: Path

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.memmap(self.folder / _STARTS, _START, mode="r").view(np.ndarray)

    @cached_property
    def _text(self) -> mmap.mmap:
        with (self.folder / _ROWS).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def sha256(self) -> str:
        """Of all rows, in order."""
        return sealed_sha256(self.folder / _ROWS)

    def __getstate__(self) -> dict[str, object]:
        """Another process maps the files again."""
        return {"folder": self.folder}

    def __len__(self) -> int:
        return len(self._starts) - 1

    def made(self, place: int) -> Any:
        """The row at a place."""
        return json.loads(self._text[self._starts[place] : self._starts[place + 1]])


@dataclass(frozen=True)
class KeptItems(OnDemand[Item]):
    """Items made of kept rows when they are asked for.

    Attributes:
        rows: of the list.
        make: item of a row; can be pickled.
    """

    rows: KeptRows
    make: Callable[[Any], Item]

    def __len__(self) -> int:
        return len(self.rows)

    def made(self, place: int) -> Item:
        """The item at a place."""
        return self.make(self.rows[place])


def keep_rows(key: Any, what: str, read: Callable[[], Iterable[Any]]) -> KeptRows:
    """The rows of a list, from the cache where it was read before.

    Args:
        key: JSON-able; all that the rows follow from.
        what: is read, for messages.
        read: gives the rows in order, at least one, each JSON-able.

    Raises:
        UsageError: the cache cannot be written; and what `read` raises.
    """
    folder = cache_root() / "lists" / hash_value([_VERSION, key])[:32]
    if not _is_finished(folder):
        with exclusive(f"lists-{folder.name}", f"the rows of {what}"):
            if not _is_finished(folder):
                logger.info("reading the rows of %s, once", what)
                _write(folder, read())
    return KeptRows(folder)


def _is_finished(folder: Path) -> bool:
    return all(is_whole(folder / name) for name in (_STARTS, _ROWS))


def _write(folder: Path, rows: Iterable[Any]) -> None:
    # The places get their name last: where they are, the rows are.
    with sealed_writer(folder / _STARTS) as starts, sealed_writer(folder / _ROWS) as lines:
        encode = json.JSONEncoder(separators=(",", ":")).encode
        end = 0
        starts.write(end.to_bytes(8, "little"))
        for row in rows:
            end += lines.write(encode(row).encode() + b"\n")
            starts.write(end.to_bytes(8, "little"))
