"""One process at a time: while one makes a file, the others wait and then find it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from .errors import UsageError
from .locations import cache_root

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(name: str, what: str) -> Iterator[bool]:
    """Hold the lock of that name; whoever comes second waits.

    The lock is the system's: it ends with the process that holds it, however that ends. File
    systems without locks let everyone pass; then the same work may be done twice, and the results
    of both are the same.

    Args:
        name: of the lock's file below the cache root, made if absent and left there.
        what: is being made, for the line that tells a waiting person.

    Yields:
        Whether nobody else can be at it: False where there are no locks.

    Raises:
        UsageError: the place cannot be written.
    """
    path = cache_root() / "locks" / name
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        message = (
            f"cannot write {what} ({path}): {error.strerror or error}. "
            "Free space, or set MEDBENCH_CACHE to another place."
        )
        raise UsageError(message) from error
    alone = True
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process is making %s; waiting for it", what)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            logger.debug("%s: this file system has no locks", path)
            alone = False
        yield alone
