"""Records as they were at a git revision: a tag, a branch, a commit; no checkout is needed."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..harness.errors import UsageError
from ..harness.record_files import Stored
from .references import stored_at

_FOLDER = "results"
"""What a revision alone stands for."""


@contextmanager
def records_of(reference: str) -> Iterator[list[Stored]]:
    """The records of a path, or of a path as it was at a git revision.

    Per-image rows can be read while the context lasts.

    Args:
        reference: a path on disk; else `REVISION:PATH` with the path from the repository's root,
            such as `v0.1:results`; or `REVISION`, which stands for its `results`.

    Raises:
        UsageError: neither, no records there, or records that do not load.
    """
    if Path(reference).exists():
        yield stored_at(Path(reference))
        return
    revision, _, inside = reference.partition(":")
    commit = _commit(revision, reference)
    inside = PurePosixPath(inside or _FOLDER).as_posix()
    with tempfile.TemporaryDirectory(prefix="medbench-") as folder:
        _unpack(commit, inside, reference, Path(folder))
        yield stored_at(Path(folder) / inside)


def _commit(revision: str, reference: str) -> str:
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        message = (
            f"{reference!r} is neither a path nor a git revision here (REVISION:PATH, such as "
            "v0.1:results). In CI, fetch history and tags: fetch-depth: 0"
        )
        raise UsageError(message)
    return found.decode("ascii").strip()


def _unpack(commit: str, inside: str, reference: str, folder: Path) -> None:
    """Write the revision's files below `folder`; links and other special files are left out."""
    root = _git("rev-parse", "--show-toplevel")
    top = root.decode().rstrip("\n") if root else "."
    packed = _git("-C", top, "archive", "--format=tar", commit, "--", inside)
    if packed is None:
        message = f"{reference!r}: revision {commit[:12]} has no {inside}"
        raise UsageError(message)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None or path.is_absolute() or ".." in path.parts:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(stream.read())


def _git(*arguments: str) -> bytes | None:
    """What git prints; None where it fails or is not installed."""
    try:
        found = subprocess.run(  # noqa: S603 (a fixed program, no shell)
            ["git", *arguments],  # noqa: S607 (the user's own git)
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout if found.returncode == 0 else None
