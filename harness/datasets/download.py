"""One file over HTTP: resumed where it stopped, checked before it gets its name.

While it is incomplete the file is `.NAME.part` beside its place, with a note of what the server
said about it (`.NAME.part.json`); a server that has another file by now, or that cannot resume,
makes it start again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..errors import RunAgain, UsageError, ValidationFailed
from ..file_hashes import file_sha256
from .card import Download
from .download_part import Part
from .transfer import Patience, transfer


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is now at its place."""

    path: Path
    received_bytes: int
    """Over the network, this time."""
    kept_bytes: int
    """Of an earlier, interrupted attempt, or of the file that was there already."""
    problem: str | None = None
    """How the content differs from the card, where that was allowed."""


def fetch_file(
    source: Download,
    folder: Path,
    *,
    allow_modified: bool = False,
    patience: Patience | None = None,
) -> Fetched:
    """Bring one file into `folder`; a file that is there already is only checked.

    Args:
        source: address, name, and size and checksums where the card has them.
        folder: made where it does not exist.
        allow_modified: accept content that has not the card's size or checksum.
        patience: time limit and attempts of the network.

    Raises:
        MissingPrerequisite: the server does not give the file; the message says why.
        ValidationFailed: the content is not what the card says; it is kept as `NAME.rejected`.
        UsageError: the place cannot be written, is full, or is in use by another download.
    """
    place = place_of(source, folder)
    if place.exists():
        problem = content_problem(source, place)
        if problem and not allow_modified:
            message = f"{place} is there already, but {problem}. Move it away and fetch it again."
            raise ValidationFailed(message)
        return Fetched(place, 0, place.stat().st_size, problem)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Part.beside(place)
        with _held(part.path):
            kept = part.received()
            received = transfer(source, part, patience or Patience(), strict=not allow_modified)
            problem = content_problem(source, part.path)
            if problem and not allow_modified:
                raise _reject(source, part, place, problem)
            _give_name(part, place)
    except OSError as error:
        message = (
            f"cannot write {place}: {error.strerror or error}. Free space or mend the permissions, "
            "and fetch again: what has arrived is kept"
        )
        raise UsageError(message) from error
    size = place.stat().st_size
    return Fetched(place, received, min(kept, max(0, size - received)), problem)


def place_of(source: Download, folder: Path) -> Path:
    """Where the file goes.

    Raises:
        UsageError: its name leaves the folder.
    """
    name = PurePosixPath(source.filename)
    if name.is_absolute() or ".." in name.parts or not name.name:
        message = f"{source.url}: the file name {source.filename!r} leaves the data set's folder"
        raise UsageError(message)
    return folder / name


def content_problem(source: Download, path: Path) -> str | None:
    """How a file differs from the size and checksums of the card; None where it does not.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if source.size_bytes is not None and size != source.size_bytes:
            return f"it has {size:,} bytes, its card says {source.size_bytes:,}"
        if source.sha256 is not None and (found := file_sha256(path)) != source.sha256.lower():
            return f"its sha256 is {found}, its card says {source.sha256}"
        if source.md5 is not None and (found := _md5(path)) != source.md5.lower():
            return f"its md5 is {found}, its card says {source.md5}"
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise UsageError(message) from error
    return None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _give_name(part: Part, place: Path) -> None:
    with part.path.open("rb+") as file:
        os.fsync(file.fileno())
    part.path.replace(place)
    part.note_path.unlink(missing_ok=True)


def _reject(source: Download, part: Part, place: Path, problem: str) -> ValidationFailed:
    rejected = place.with_name(f"{place.name}.rejected")
    part.path.replace(rejected)
    part.note_path.unlink(missing_ok=True)
    return ValidationFailed(
        f"{source.url}: what came is not the file of the card: {problem}. It is kept as {rejected} "
        "for a look and is never read. Fetch again; if it stays so, the owners have changed their "
        "file (--allow-modified takes it as it is)."
    )


@contextlib.contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """Keep a second download of the same file out; an abandoned one leaves no lock behind."""
    with path.open("ab") as file:
        try:
            import fcntl
        except ImportError:  # no such locks on Windows; two downloads at once are then unguarded
            yield file
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{path}: another process is downloading this file. Wait for it to end."
            raise UsageError(message) from error
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            message = f"{path}: another process has just finished this download. Run it again."
            raise RunAgain(message)
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):
                if not path.stat().st_size:
                    path.unlink()
