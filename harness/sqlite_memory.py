"""SQLite files that only remember: where one fails it is done without, and a damaged one goes."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_DAMAGE = ("malformed", "not a database")
"""In SQLite's words; all else (locked, read-only, full) is no reason to remove a file."""


@contextlib.contextmanager
def harmless(database: Path) -> Iterator[None]:
    """Do without a memory that cannot be used, and remove it where it is damaged.

    Rows need a checksum of their own: SQLite's pages have none.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        logger.debug("%s is done without: %s", database, error)
        if any(word in str(error) for word in _DAMAGE):
            logger.warning("%s is damaged; it is begun anew", database)
            for suffix in ("", "-journal", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    database.with_name(database.name + suffix).unlink(missing_ok=True)
