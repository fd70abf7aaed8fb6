"""Files that carry their checksum: what was damaged on disk is found, never used.

Beside a file `name` lies its seal, `name.sha256`, in the format of `sha256sum`. It is written
before the file gets its name, so that a finished file has one, however its writer ended. A cache
makes damaged files again; weights that a user names are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .errors import UsageError
from .files import atomic_writer, hash_value, write_bytes
from .passing import run_again_if_passing

logger = logging.getLogger(__name__)

_CHECK = "check"


def seal_of(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(f"{path.name}.sha256")


class SealedFile:
    """A file in the making, whose bytes are hashed on their way; it can only be written to."""

    def __init__(self, file: IO[bytes]) -> None:
        """Use `sealed_writer`."""
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        self._digest.update(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def sealed_writer(path: Path) -> Iterator[SealedFile]:
    """`atomic_writer` that seals the file.

    Raises:
        UsageError: the place cannot be written (read-only, full), with the reason.
    """
    with atomic_writer(path) as file:
        sealed = SealedFile(file)
        yield sealed
        _write_seal(path, sealed.sha256)


def write_sealed(path: Path, data: bytes) -> None:
    """Write `data` atomically, with a seal."""
    _write_seal(path, hashlib.sha256(data).hexdigest())
    write_bytes(path, data)


def seal(path: Path) -> None:
    """Seal a finished file that something else wrote."""
    _write_seal(path, _sha256(path))


def is_whole(path: Path) -> bool:
    """Whether a sealed file is there, with the content that was written; damage is told of.

    One without a seal is not: nobody finished it.
    """
    if not (path.is_file() and seal_of(path).is_file()):
        return False
    if is_damaged(path):
        logger.warning("%s is damaged; it is made again", path)
        return False
    return True


def is_damaged(path: Path) -> bool:
    """Whether a file has a seal, and not the content that it was sealed with, or is unreadable.

    Raises:
        RunAgain: the machine failed while it was read.
    """
    try:
        return sealed_sha256(path) != _sha256(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        run_again_if_passing(error, path)
        logger.warning("%s cannot be read: %s", path, error)
        return True


def sealed_sha256(path: Path) -> str:
    """The SHA-256 that a file was sealed with; the file is not read."""
    return seal_of(path).read_text(encoding="ascii", errors="replace").partition(" ")[0]


def check_seal(path: Path, what: str) -> None:
    """Refuse a file that is not what its seal says; one without a seal passes.

    Raises:
        UsageError: the file is damaged.
    """
    if is_damaged(path):
        message = (
            f"{what} {path}: damaged: its SHA-256 is not the one in {seal_of(path).name}. Copy or "
            "make it again; where the change was meant, delete that file."
        )
        raise UsageError(message)


def checked(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able facts with a hash of themselves, for a file that cannot have a seal beside it."""
    return {**value, _CHECK: hash_value(dict(value))}


def unchecked(value: Any) -> dict[str, Any]:
    """The facts that `checked` got; those of before there was a hash pass.

    Raises:
        ValueError: they are damaged, or no mapping.
    """
    if not isinstance(value, dict):
        message = f"a {type(value).__name__}, not a mapping"
        raise ValueError(message)
    facts = {name: each for name, each in value.items() if name != _CHECK}
    if _CHECK in value and value[_CHECK] != hash_value(facts):
        message = "damaged: it does not have the hash that it states"
        raise ValueError(message)
    return facts


def _write_seal(path: Path, sha256: str) -> None:
    write_bytes(seal_of(path), f"{sha256}  {path.name}\n".encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
