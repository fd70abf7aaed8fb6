"""One array of a compressed npz file as a memory map: unpacked once into the cache.

A deflated member has no random access; unpacked, a split of many gigabytes costs no memory.
"""

from __future__ import annotations

import lzma
import math
import shutil
import struct
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
from ..locations import cache_root
from ..passing import run_again_if_passing
from ..sealed import is_whole, sealed_writer

_lock = threading.Lock()
_opened: dict[tuple[str, Path], np.ndarray] = {}
_MOST_INFLATION = 250
"""Of arrays above `_LARGE`; images deflate to a half or a third, and deflate ends at 1032."""
_LARGE = 64 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    # Of the last: NotImplementedError, and a password asked for.
    *(struct.error, ValueError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype


def array_facts(path: Path) -> dict[str, ArrayFacts]:
    """Shapes and types of all arrays of an npz file, from their headers alone.

    Raises:
        UsageError: truncated or damaged; the message names the file and the array.
        RunAgain: the machine failed, such as for lack of memory.
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
            version = np.lib.format.read_magic(member)
            if version != (1, 0):  # others are for headers above 64 KiB, and could claim any size
                message = f"header version {version}"
                raise ValueError(message)
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            _check_size(archive.getinfo(f"{name}.npy"), math.prod(shape) * dtype.itemsize)
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path}: {name} is not a plain array ({error}). Damaged: replace the file."
        raise UsageError(message) from error
    return ArrayFacts(shape, dtype)


def _check_size(member: zipfile.ZipInfo, stated: int) -> None:
    """Before anything is unpacked: the array's own claim, and the archive's, must be possible."""
    held, packed = member.file_size, max(member.compress_size, 1)
    if not 0 <= held - stated < 1 << 17:  # the header
        message = f"its header claims {stated:,} bytes, the archive has {held:,}"
        raise ValueError(message)
    if held > _LARGE and held > _MOST_INFLATION * packed:
        message = f"{packed:,} bytes that claim to be {held:,} unpacked; no images deflate so far"
        raise ValueError(message)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The open file; whatever damage is met while it is read names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_DAMAGE, MemoryError) as error:
        run_again_if_passing(error, path)
        message = f"{path}: cannot be read ({error}). Truncated or damaged: replace the file."
        raise UsageError(message) from error


def open_member(path: Path, name: str) -> np.ndarray:
    """The array `name` of the npz file `path`, read-only.

    Raises:
        UsageError: truncated or damaged, no such array, or an array of Python objects; the
            message names the file and the array.
        RunAgain: the machine failed, such as for lack of memory.
    """
    target = cache_root() / "npz" / file_sha256(path) / f"{name}.npy"
    with _lock:
        key = (name, target)
        if key not in _opened:
            if not is_whole(target):
                _unpack(path, name, target)
            _opened[key] = _map(path, name, target)
        return _opened[key]


def _map(path: Path, name: str, target: Path) -> np.ndarray:
    try:
        return np.load(target, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        run_again_if_passing(error, f"{path}: {name}")
        target.unlink(missing_ok=True)
        message = f"{path}: {name} is not a plain array ({error}). Damaged: replace the file."
        raise UsageError(message) from error


def _unpack(path: Path, name: str, target: Path) -> None:
    with _archive(path) as archive:
        arrays = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if name not in arrays:
            message = f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}"
            raise UsageError(message)
        _header(path, name, archive)
        try:
            with archive.open(f"{name}.npy") as source, sealed_writer(target) as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            message = (
                f"{path}: {name} cannot be read ({error}). Truncated or damaged: replace the file."
            )
            raise UsageError(message) from error
