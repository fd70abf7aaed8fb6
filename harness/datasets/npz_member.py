"""One array of a compressed npz file as a memory map: unpacked once into the cache.

A deflated member has no random access; unpacked, a split of many gigabytes costs no memory.
"""

from __future__ import annotations

import shutil
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..files import atomic_writer
from ..locations import cache_root

_lock = threading.Lock()
_opened: dict[tuple[str, Path], np.ndarray] = {}
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype


def array_facts(path: Path) -> dict[str, ArrayFacts]:
    """Shapes and types of all arrays of an npz file, from their headers alone.

    Raises:
        UsageError: truncated or damaged; the message names the file and the array.
    """
    facts = {}
    with _archive(path) as archive:
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                name = entry.removesuffix(".npy")
                facts[name] = _header(path, name, archive)
    return facts


def _header(path: Path, name: str, archive: zipfile.ZipFile) -> ArrayFacts:
    try:
        with archive.open(f"{name}.npy") as member:
            read = _HEADERS[np.lib.format.read_magic(member)]
            shape, _, dtype = read(member)
    except (ValueError, KeyError) as error:
        message = f"{path}: {name} is not a plain array ({error}). Damaged: replace the file."
        raise UsageError(message) from error
    return ArrayFacts(shape, dtype)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The open file; whatever damage is met while it is read names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        message = f"{path}: cannot be read ({error}). Truncated or damaged: replace the file."
        raise UsageError(message) from error


def open_member(path: Path, name: str) -> np.ndarray:
    """The array `name` of the npz file `path`, read-only.

    Raises:
        UsageError: truncated or damaged, no such array, or an array of Python objects; the
            message names the file and the array.
    """
    target = cache_root() / "npz" / file_sha256(path) / f"{name}.npy"
    with _lock:
        key = (name, target)
        if key not in _opened:
            if not target.is_file():
                _unpack(path, name, target)
            _opened[key] = _map(path, name, target)
        return _opened[key]


def _map(path: Path, name: str, target: Path) -> np.ndarray:
    try:
        return np.load(target, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        target.unlink(missing_ok=True)
        message = f"{path}: {name} is not a plain array ({error}). Damaged: replace the file."
        raise UsageError(message) from error


def _unpack(path: Path, name: str, target: Path) -> None:
    with _archive(path) as archive:
        arrays = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if name not in arrays:
            message = f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}"
            raise UsageError(message)
        try:
            with archive.open(f"{name}.npy") as source, atomic_writer(target) as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            message = (
                f"{path}: {name} cannot be read ({error}). Truncated or damaged: replace the file."
            )
            raise UsageError(message) from error
