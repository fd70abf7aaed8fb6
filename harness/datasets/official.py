"""Files that should be the owners' own: refused where they are not, or read and marked.

One permission for all readers: `medbench run --allow-modified`, or MEDBENCH_ALLOW_MODIFIED=1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..errors import UsageError

ALLOW_MODIFIED = "MEDBENCH_ALLOW_MODIFIED"
"""Environment variable: 1 reads files that differ from the owners'."""

_SHOWN = 5


def allow_modified() -> None:
    """Read such files from now on, in this process and in those that it starts."""
    os.environ[ALLOW_MODIFIED] = "1"


def modified_allowed() -> bool:
    """Whether files that differ from the owners' may be read."""
    return os.environ.get(ALLOW_MODIFIED, "") == "1"


def check_official(
    path: Path, *, md5: str | None = None, differences: Sequence[str] = ()
) -> list[str]:
    """Compare a file with what its owners say of it.

    Args:
        path: an existing file.
        md5: as the owners print it; None where they print none.
        differences: what a reader found to differ, in words.

    Returns:
        What the card's known problems must begin with: nothing for the owners' own file, else
        one sentence beginning `modified file`, which becomes a warning of the record.

    Raises:
        UsageError: it differs, and such files are not allowed.
    """
    found = [*_md5_difference(path, md5), *differences]
    if not found:
        return []
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    shown = "; ".join(found[:_SHOWN]) + more
    if modified_allowed():
        return [f"modified file: {path.name}: {shown}"]
    message = (
        f"{path} is not the official file: {shown}. It is damaged, modified or a part: fetch it "
        f"again, or read it as it is with --allow-modified (or {ALLOW_MODIFIED}=1); results are "
        "then marked"
    )
    raise UsageError(message)


def count_differences(
    found: Mapping[str, int], official: Mapping[str, int | None], *, what: str
) -> list[str]:
    """Sentences on splits whose size is not the owners'; sizes that nobody states are skipped."""
    return [
        f"{split} has {found.get(split, 0):,} {what}, the official file has {count:,}"
        for split, count in official.items()
        if count is not None and found.get(split, 0) != count
    ]


def _md5_difference(path: Path, md5: str | None) -> list[str]:
    if md5 is None:
        return []
    stat = path.stat()
    found = _md5(path, stat.st_size, stat.st_mtime_ns)
    return [] if found == md5 else [f"its md5 is {found}, the owners print {md5}"]


@lru_cache(maxsize=64)
def _md5(path: Path, size: int, modified_ns: int) -> str:
    del size, modified_ns  # part of the key: a changed file is hashed again
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
