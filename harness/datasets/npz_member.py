"""One array of a compressed npz file as a memory map: unpacked once into the cache.

A deflated member has no random access; unpacked, a split of many gigabytes costs no memory.
"""

from __future__ import annotations

import shutil
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..files import atomic_writer
from ..locations import cache_root

_lock = threading.Lock()
_opened: dict[tuple[str, Path], np.ndarray] = {}


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
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [entry.removesuffix(".npy") for entry in archive.namelist()]
            if name not in arrays:
                message = f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}"
                raise UsageError(message)
            with archive.open(f"{name}.npy") as source, atomic_writer(target) as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        message = (
            f"{path}: {name} cannot be read ({error}). Truncated or damaged: replace the file."
        )
        raise UsageError(message) from error
