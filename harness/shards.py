"""Work in shards of 64 images that survive a kill, and the batch size that fits the machine."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from . import ranks
from .errors import CellFailed, UsageError
from .files import write_bytes, write_json
from .passing import run_again_if_passing
from .progress import track
from .sealed import checked, unchecked

logger = logging.getLogger(__name__)

SHARD_IMAGES = 64
_DIGEST_BYTES = 32
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_NO_MEMORY_OF_ONEDNN = "could not create a primitive"
"""The whole message; of what it does not support it says more."""

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


class BatchSize:
    """The number of images per forward pass; halves itself when memory does not suffice.

    The size is kept in `note` as soon as it has fitted, and reused by a resumed run, so that
    interrupting a run does not change its arithmetic. One that had to be halved is kept in
    `fitted`, too, with which later runs of the same tokenizer on the same kind of device begin.
    """

    def __init__(
        self,
        requested: int | None,
        *,
        device: str,
        note: Path | None = None,
        fitted: Path | None = None,
    ) -> None:
        automatic = 64 if device.startswith("cuda") else 8
        self._note, self._fitted = note, fitted
        self._kept = self._halved = False
        own = requested or _read_size(note)
        self.size = own or min(automatic, _read_size(fitted) or automatic)
        if own is None and self.size < automatic:
            logger.info(
                "batch size %d, which fitted before; --batch-size, or removing %s, tries another",
                self.size,
                fitted,
            )

    def attempt(self, work: Callable[[int], T]) -> T:
        """Call `work(batch size)`, halving the size after each out-of-memory error.

        Raises:
            CellFailed: not even one image fits.
        """
        while True:
            try:
                found = work(self.size)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if self.size == 1:
                    message = "not even one image fits into memory. Use another --device."
                    raise CellFailed(message) from error
                logger.warning("out of memory at batch size %d; halving it", self.size)
            else:
                self._keep()
                return found
            self.size //= 2
            self._kept, self._halved = False, True
            _free_memory()

    def _keep(self) -> None:
        """Write the size down, once, for all ranks."""
        if self._kept or ranks.own() != 0:
            return
        self._kept = True
        size = checked({"batch_size": self.size})
        if self._note is not None:
            write_json(self._note, size)
        if self._fitted is not None and self._halved:
            with contextlib.suppress(UsageError):  # a help for later runs, no reason to fail
                write_json(self._fitted, size)


def _read_size(path: Path | None) -> int | None:
    """What `BatchSize` wrote there; None where it is absent or damaged."""
    if path is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return max(1, int(unchecked(json.loads(path.read_text()))["batch_size"]))
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether memory, of the device or of the system, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    told = text == _NO_MEMORY_OF_ONEDNN or any(words in text for words in _NO_MEMORY)
    return isinstance(error, RuntimeError) and told


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_shards(
    folder: Path,
    count: int,
    compute: Callable[[int, int], Arrays],
    *,
    label: str,
) -> Iterator[Arrays]:
    """Yield the arrays of each shard of `count` images, computing those that are not on disk.

    Of several ranks each computes its share first; all of them get all shards.

    Args:
        folder: where shards lie; `shard-00000.npz` and so on.
        count: images in all.
        compute: (start, stop) -> arrays of that range.
        label: what the progress line says.
    """

    def shard(start: int) -> Arrays:
        path = folder / f"shard-{start // SHARD_IMAGES:05d}.npz"
        arrays = read_arrays(path)
        if arrays is None:
            arrays = compute(start, min(start + SHARD_IMAGES, count))
            write_arrays(path, arrays)
        return arrays

    starts = range(0, count, SHARD_IMAGES)
    if ranks.count() > 1:
        mine = starts[ranks.own() :: ranks.count()]
        ranks.together(lambda: [None for s in tracked(mine, count, label) if shard(s)])
        yield from map(shard, starts)
        return
    for start in tracked(starts, count, label):
        yield shard(start)


def tracked(starts: range, count: int, label: str) -> Iterator[int]:
    """The starts of shards of `count` images, with their progress in images."""
    images = sum(min(SHARD_IMAGES, count - start) for start in starts)
    return track(starts, total=images, label=label, each=SHARD_IMAGES)


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays atomically: npz, and the SHA-256 of that in the last 32 bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    write_bytes(path, data + hashlib.sha256(data).digest())


def read_arrays(path: Path) -> Arrays | None:
    """Read what `write_arrays` wrote; None where it is absent or damaged (then it is redone).

    Raises:
        RunAgain: the machine failed while it was read.
    """
    if not path.exists():
        return None
    try:
        content = memoryview(path.read_bytes())
        data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        # Before it is parsed: the archive's own checksums leave out its table of contents.
        if hashlib.sha256(data).digest() != digest:
            message = "not what was written"
            raise ValueError(message)
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        run_again_if_passing(error, path)
        logger.warning("%s is damaged (%s); it is computed again", path, error)
        return None
