"""Signatures that were computed before, in one SQLite file in the cache root.

Keyed by the image's content key and the rule, so that an interrupted audit goes on where it
stopped. An optimisation only: where it cannot be read or written, signatures are made again.
Private images never come here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..files import hash_value
from ..locations import cache_root
from ..sqlite_memory import harmless
from .signature import FIELD_SIDE, RULE, Signature
from .sources import Entry

_FILE = "audit-signatures.sqlite"
_CREATE = (
    "create table if not exists checked_signatures (key text primary key, sha256 text not null, "
    "luma text not null, contrast text not null, field blob not null, detail real not null, "
    "textured integer not null, "
    "width integer not null, height integer not null, checksum text not null)"
)
_FIELDS = "sha256, luma, contrast, field, detail, textured, width, height, checksum"


def memory_path() -> Path:
    """Where signatures are remembered."""
    return cache_root() / _FILE


def entry_key(entry: Entry) -> str:
    """Names the pixels of an entry: another file or window gives another key."""
    place = [entry.place.dataset, entry.place.split, entry.item.id]
    return hash_value([RULE, *place, entry.item.content_key()])


class Memory:
    """The open file, or nothing where it cannot be opened."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        """Use `open_memory`."""
        self._connection = connection

    def recall(self, key: str) -> Signature | None:
        """The signature of that key, if it is known and whole."""
        if self._connection is None:
            return None
        with harmless(memory_path()):
            query = f"select {_FIELDS} from checked_signatures where key = ?"  # noqa: S608 (a constant)
            row = self._connection.execute(query, (key,)).fetchone()
            if row is not None and row[-1] == _checksum(key, row[:-1]):
                return _signature(row[:-1])
        return None

    def remember(self, known: Sequence[tuple[str, Signature]]) -> None:
        """Keep signatures by key, in one transaction."""
        if self._connection is None or not known:
            return
        rows = [(key, *row, _checksum(key, row)) for key, one in known for row in [_row(one)]]
        with harmless(memory_path()), self._connection:
            self._connection.executemany(
                "insert or replace into checked_signatures values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )


@contextlib.contextmanager
def open_memory() -> Iterator[Memory]:
    """The memory below the present cache root; closed when the block ends."""
    connection = None
    with harmless(memory_path()):
        memory_path().parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(memory_path(), timeout=5)
        # Losing the memory in a power cut is fine; waiting for the disk is not.
        opened.execute("pragma synchronous = off")
        opened.execute(_CREATE)
        connection = opened
    try:
        yield Memory(connection)
    finally:
        if connection is not None:
            connection.close()


def _checksum(key: str, row: Sequence[object]) -> str:
    """SQLite's pages have none."""
    return hash_value([key, *(f.hex() if isinstance(f, bytes) else str(f) for f in row)])[:16]


def _row(signature: Signature) -> tuple[object, ...]:
    return (
        signature.sha256,
        f"{signature.luma_hash:016x}",
        f"{signature.contrast_hash:016x}",
        signature.field.tobytes(),
        float(signature.detail),
        int(signature.textured),
        int(signature.width),
        int(signature.height),
    )


def _signature(row: tuple) -> Signature | None:
    sha256, luma, contrast, field, detail, textured, width, height = row
    if len(field) != FIELD_SIDE**2:
        return None
    return Signature(
        sha256=sha256,
        luma_hash=int(luma, 16),
        contrast_hash=int(contrast, 16),
        field=np.frombuffer(field, dtype=np.int8),
        detail=detail,
        textured=textured,
        width=width,
        height=height,
    )
