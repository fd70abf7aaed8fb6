"""SHA-256 of files, computed once per content and remembered.

The memory is one SQLite file in the cache root, keyed by path, size, times and inode. It is an
optimisation only: where it cannot be read or written, files are hashed again. Each row has a
checksum of its own, since SQLite's pages have none; a file that is no database any more is begun
anew.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from pathlib import Path

from .errors import UsageError
from .files import hash_value
from .locations import cache_root
from .passing import run_again_if_passing
from .sqlite_memory import harmless

_FILE = "file-hashes.sqlite"
_CREATE = (
    "create table if not exists checked_hashes "
    "(stamp text primary key, sha256 text not null, checksum text not null)"
)
_local = threading.local()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's content.

    Raises:
        UsageError: the file cannot be read.
        RunAgain: the machine failed while it was read.
    """
    try:
        path = path.resolve()
        if not path.is_file() and path.exists():
            message = f"cannot read {path}: not a file"  # a device has no end
            raise UsageError(message)
        stamp = _stamp(path)
        known = _recall(stamp)
        if known is not None:
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:  # the latter where links lead in a circle
        run_again_if_passing(error, path)
        message = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise UsageError(message) from error
    _remember(stamp, digest)
    return digest


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_ino}"


def _memory() -> sqlite3.Connection:
    """This thread's connection to the memory below the present cache root."""
    place = cache_root() / _FILE
    connections = _local.__dict__.setdefault("connections", {})
    key = (os.getpid(), place)
    if key not in connections or not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place, timeout=5, isolation_level=None)
        # Losing the memory in a power cut is fine; waiting for the disk per file is not.
        connection.execute("pragma synchronous = off")
        connection.execute(_CREATE)
        connections[key] = connection
    return connections[key]


def _recall(stamp: str) -> str | None:
    with harmless(cache_root() / _FILE):
        query = "select sha256, checksum from checked_hashes where stamp = ?"
        row = _memory().execute(query, (stamp,)).fetchone()
        if row is not None and row[1] == _checksum(stamp, str(row[0])):
            return str(row[0])
    return None


def _remember(stamp: str, digest: str) -> None:
    with harmless(cache_root() / _FILE):
        row = (stamp, digest, _checksum(stamp, digest))
        _memory().execute("insert or replace into checked_hashes values (?, ?, ?)", row)


def _checksum(stamp: str, digest: str) -> str:
    return hash_value([stamp, digest])[:16]
