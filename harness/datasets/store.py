"""Ingest: a dataset becomes one memory-mapped uint8 array with a SHA-256 per image.

That array is both the tokenizer's input and the reference of every metric. It is written once
per content and ingest rule, and each image's hash is checked when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import MedbenchError, RunAgain, UsageError
from ..exclusive import exclusive
from ..file_hashes import file_sha256
from ..files import canonical_json, hash_value, sha256_bytes, write_json
from ..locations import cache_root
from ..passing import run_again_if_passing
from ..sealed import checked, unchecked
from .dataset import Dataset, Item
from .growing_array import GrowingArray
from .images import resize_mask
from .stored_rows import StoredImage, StoredRows

logger = logging.getLogger(__name__)

INGEST_RULE = "rgb-u8-square-bilinear-antialias-1"
"""Names decode -> RGB uint8 -> square bilinear antialiased; bump when pixels may change."""

_FORMAT = "rows-in-lines-2"
"""Names the files of a cache folder; another one is another cache."""

_MANIFEST = "manifest.json"

_AHEAD = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be read."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageStore:
    """An ingested dataset.

    Attributes:
        images: uint8 (N, H, H, 3), memory-mapped.
        masks: bool (N, H, H) or None; memory-mapped.
        rows: the N manifest rows, in order, read from disk when asked for.
        failures: what could not be read.
        fingerprint: SHA-256 over ids, groups, patients and pixel hashes.
    """

    path: Path
    images: np.ndarray
    masks: np.ndarray | None
    rows: Sequence[StoredImage]
    failures: tuple[Failure, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Images start..stop as a checked copy, uint8 (n, H, H, 3).

        Raises:
            RunAgain: an image does not have the hash that was recorded (a damaged cache).
        """
        batch = np.array(self.images[start:stop])
        for row, image in zip(self.rows[start:stop], batch, strict=True):
            if sha256_bytes(image.data) != row.sha256:
                # Gone, since the hash of the whole file may be remembered from better days.
                shutil.rmtree(self.path, ignore_errors=True)
                message = (
                    f"the image cache is damaged: {row.id!r} in {self.path} does not have its "
                    "recorded hash. It is removed: the same command makes it again and goes on."
                )
                raise RunAgain(message)
        return batch


def ingest(dataset: Dataset, *, limit: int | None = None, side: int = 256) -> ImageStore:
    """Read a dataset through the cache.

    Raises:
        UsageError: no item at all, none that can be read, or a cache that cannot be written.
        RunAgain: the machine failed while an image was read, which says nothing about the image.
    """
    items = dataset.items(limit)
    if not items:
        message = f"dataset {dataset.id!r} has no images. {dataset.card.how_to_get}"
        raise UsageError(message)
    return ingest_items(items, dataset.id, side=side)


def ingest_items(items: Sequence[Item], name: str, *, side: int) -> ImageStore:
    """Read at least one item, of the data set of that name, through the cache.

    Raises:
        UsageError: none can be read, or the cache cannot be written.
        RunAgain: as `ingest`.
    """
    path = cache_root() / "images" / _cache_key(items, side)
    if not _is_usable(path):
        with exclusive(f"images-{path.name}", f"the image cache of {name}") as alone:
            if not _is_usable(path):
                # What is damaged; and, where nobody else can be at it, what killed runs began.
                for old in (path, *(path.parent.glob(f".{path.name}.*") if alone else ())):
                    shutil.rmtree(old, ignore_errors=True)
                _build(items, path, side)
    return open_store(path)


def _is_usable(path: Path) -> bool:
    """Whether an ingest folder is finished, and its files are what was written."""
    if not (path / _MANIFEST).is_file():
        return False
    try:
        for name, sha256 in _read_manifest(path)["files"].items():
            if file_sha256(path / name) != sha256:
                message = f"{name} is not what was written"
                raise ValueError(message)
    except (UsageError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        run_again_if_passing(error, path)
        logger.warning("the image cache %s is damaged (%s); it is made again", path, error)
        return False
    return True


def _read_manifest(path: Path) -> dict[str, Any]:
    return unchecked(json.loads((path / _MANIFEST).read_text(encoding="utf-8")))


def _cache_key(items: Sequence[Item], side: int) -> str:
    def row(item: Item) -> list[Any]:
        return [item.id, item.group, item.label, item.patient, item.content_key()]

    rows = _hash_list(row for _, row in _in_parallel(items, row))
    return hash_value([INGEST_RULE, _FORMAT, side, rows])[:32]


def _hash_list(values: Iterable[Any]) -> str:
    """`hash_value` of the list of these values, which is never held as a whole."""
    digest = hashlib.sha256(b"[")
    for position, value in enumerate(values):
        digest.update((("," if position else "") + canonical_json(value)).encode())
    digest.update(b"]")
    return digest.hexdigest()


def open_store(path: Path) -> ImageStore:
    """Open a finished ingest folder."""
    try:
        manifest = _read_manifest(path)
        images = np.load(path / "images.npy", mmap_mode="r")
        masks_path = path / "masks.npy"
        masks = np.load(masks_path, mmap_mode="r") if masks_path.exists() else None
        rows = StoredRows(path / "rows.jsonl")
        failures = tuple(Failure(**failure) for failure in manifest["failures"])
        if len(rows) != len(images):
            message = f"{len(images)} images, {len(rows)} rows"
            raise ValueError(message)
        fingerprint = _fingerprint(rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        run_again_if_passing(error, path)
        message = f"the image cache {path} is damaged ({error}). Delete it; it is rebuilt."
        raise UsageError(message) from error
    return ImageStore(path, images, masks, rows, failures, fingerprint)


def _fingerprint(rows: Sequence[StoredImage]) -> str:
    return _hash_list([row.id, row.group, row.patient, row.sha256] for row in rows)


def _build(items: Sequence[Item], path: Path, side: int) -> None:
    """Write the whole folder aside, then give it its name in one step."""
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        manifest = _write_arrays(items, scratch, side)
        manifest["files"] = {each.name: file_sha256(each) for each in sorted(scratch.iterdir())}
        write_json(scratch / _MANIFEST, checked(manifest))
        try:
            scratch.replace(path)
        except OSError:
            # Another process finished the same content first; its result is as good.
            if not (path / _MANIFEST).is_file():
                raise
    except OSError as error:
        message = (
            f"cannot write the image cache {path.parent}: {error.strerror or error}. "
            "Free space, or set MEDBENCH_CACHE to another place."
        )
        raise UsageError(message) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _write_arrays(items: Sequence[Item], folder: Path, side: int) -> dict[str, Any]:
    """Two streams of raw pixels with an npy header, the rows, and the manifest's content."""
    failures: list[Failure] = []
    with_masks = any(item.load_mask is not None for item in items)
    from ..progress import track

    tracked = track(
        _in_parallel(items, lambda item: _load(item, side)),
        total=len(items),
        label="reading images",
    )
    with contextlib.ExitStack() as stack:
        images = stack.enter_context(GrowingArray(folder / "images.npy", np.uint8, (side, side, 3)))
        masks = None
        if with_masks:
            masks = stack.enter_context(GrowingArray(folder / "masks.npy", np.bool_, (side, side)))
        lines = stack.enter_context((folder / "rows.jsonl").open("w", encoding="utf-8"))
        for item, loaded in tracked:
            if isinstance(loaded, str):
                failures.append(Failure(item.id, loaded))
                logger.warning("%s", loaded)
                continue
            images.append(loaded.pixels)
            if masks is not None:
                masks.append(loaded.mask)
            lines.write(canonical_json(asdict(loaded.row)) + "\n")
    if not images.count:
        shown = "; ".join(failure.reason for failure in failures[:3])
        message = f"none of the {len(items)} images can be read: {shown}"
        raise UsageError(message)
    return {
        "ingest_rule": INGEST_RULE,
        "failures": [asdict(failure) for failure in failures],
    }


@dataclass(frozen=True, slots=True)
class _Loaded:
    row: StoredImage
    pixels: np.ndarray
    mask: np.ndarray | None


def _in_parallel(items: Sequence[Item], work: Callable[[Item], T]) -> Iterator[tuple[Item, T]]:
    """Yield (item, its result) in order, working a little ahead on threads."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        waiting: deque[tuple[Item, Future[T]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > _AHEAD:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()


def _load(item: Item, side: int) -> _Loaded | str:
    try:
        decoded = item.load()
        pixels = np.ascontiguousarray(decoded.square(side))
        mask = resize_mask(item.load_mask(), side) if item.load_mask else None
    except (MedbenchError, OSError, MemoryError) as error:
        run_again_if_passing(error, item.id)
        if not isinstance(error, MedbenchError):
            raise
        return str(error)
    width, height = decoded.size
    row = StoredImage(
        id=item.id,
        group=item.group,
        sha256=sha256_bytes(pixels.data),
        label=item.label,
        patient=item.patient,
        native_width=width,
        native_height=height,
        notes=decoded.notes,
    )
    return _Loaded(row, pixels, mask)
