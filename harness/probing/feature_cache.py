"""Features of a tokenizer, computed once per weights, images and kind, then memory-mapped.

A finished entry is `features.npy`, float32 (N, d), and `facts.json`, written last. Until then
there are shards of 64 images, each written atomically, so that a killed run goes on. An entry is
used only if its facts are those of this tokenizer and these images, if the file has the recorded
hash, and if the tokenizer still gives the features of two of the images: a name or a file that
stays the same while the code behind it changes is found by that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import CellFailed, MedbenchError, UsageError
from ..files import atomic_writer, hash_value, write_json
from ..locations import cache_root
from ..progress import track
from ..shards import SHARD_IMAGES, read_arrays, write_arrays
from .features import FeatureKind, features_by_kind

if TYPE_CHECKING:
    from ..datasets.store import ImageStore
    from ..protocol import Tokenizer
    from ..shards import BatchSize

logger = logging.getLogger(__name__)

_FORMAT = "rows-float32-1"

SAME = 0.05
"""Largest relative difference between kept features and those of now. A code that falls to its
neighbour, because another batch size rounds otherwise, moves the features by less."""


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """A tokenizer, and all of it that its features depend on.

    Attributes:
        tokenizer: to be asked where nothing is kept.
        identity: JSON-able: hashes of weights and config, version of the code.
        batch: images per call, halved where memory does not suffice.
        device: where the tokenizer is.
    """

    tokenizer: Tokenizer
    identity: Mapping[str, Any]
    batch: BatchSize
    device: str


@dataclass(frozen=True, slots=True)
class Features:
    """Features of every image of a store.

    Attributes:
        rows: float32 (N, d), memory-mapped.
        seconds: that the tokenizer took, when it was asked.
    """

    rows: np.ndarray
    seconds: float


def cached_features(
    source: FeatureSource, store: ImageStore, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, Features]:
    """Features of all images of a store, from the cache where it has them.

    Raises:
        CellFailed: features that are not finite; names the tokenizer and the first such image.
        UsageError: the cache cannot be written, with how much space is needed.
    """
    entries = [_Entry(source, store, kind) for kind in kinds]
    found: dict[FeatureKind, Features | None] = {e.kind: e.load() for e in entries}
    missing = [entry for entry in entries if found[entry.kind] is None]
    if missing:
        try:
            _compute(source, store, missing)
            for entry in missing:
                found[entry.kind] = entry.finish()
        except UsageError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            message = f"{error} Features are kept below MEDBENCH_CACHE ({cache_root()})."
            raise UsageError(message) from error
    return {kind: features for kind, features in found.items() if features is not None}


def _compute(source: FeatureSource, store: ImageStore, entries: Sequence[_Entry]) -> None:
    """Write the shards that are not there, of all entries from the same encodings."""
    for entry in entries:
        entry.drop_strange_shards()
    starts = range(0, len(store), SHARD_IMAGES)
    label = f"features of {source.tokenizer.info.full_name}"
    for start in track(starts, total=len(starts), label=label):
        due = [entry for entry in entries if read_arrays(entry.shard(start)) is None]
        if not due:
            continue
        images = store.read(start, min(start + SHARD_IMAGES, len(store)))
        begun = time.perf_counter()
        arrays = features_of_images(source, images, [entry.kind for entry in due])
        seconds = np.array(time.perf_counter() - begun)
        for entry in due:
            rows = arrays[entry.kind]
            _require_finite(rows, source, entry, start)
            if start == 0:
                entry.require_space(rows.shape[1])
            write_arrays(entry.shard(start), {"rows": rows, "seconds": seconds})


@torch.inference_mode()
def features_of_images(
    source: FeatureSource, images: np.ndarray, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, np.ndarray]:
    """Several kinds of features, float32 (n, d) by kind, of uint8 (n, H, H, 3)."""
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def work(size: int) -> dict[FeatureKind, np.ndarray]:
        parts: dict[FeatureKind, list[np.ndarray]] = {kind: [] for kind in kinds}
        for batch in tensor.split(size):
            given = batch.to(source.device).float().div_(255.0)
            for kind, rows in features_by_kind(source.tokenizer, given, kinds).items():
                parts[kind].append(rows.cpu().numpy())
        return {kind: np.concatenate(rows).astype(np.float32) for kind, rows in parts.items()}

    return source.batch.attempt(work)


def _require_finite(rows: np.ndarray, source: FeatureSource, entry: _Entry, start: int) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        first = entry.image_id(start + int(broken[0]))
        message = (
            f"{source.tokenizer.info.full_name}: {entry.kind!r} features of {broken.size} of "
            f"{len(rows)} images are not finite, the first {first!r}. Look for NaN in the "
            "weights, or for an overflow in half precision."
        )
        raise CellFailed(message)


class _Entry:
    """One kind of features of one store: a folder of the cache."""

    def __init__(self, source: FeatureSource, store: ImageStore, kind: FeatureKind) -> None:
        self.kind: FeatureKind = kind
        self._source, self._store = source, store
        self._facts = {
            "format": _FORMAT,
            "tokenizer": source.tokenizer.info.full_name,
            "identity": dict(source.identity),
            "device": source.device.split(":")[0],
            "images": store.fingerprint,
            "count": len(store),
            "kind": kind,
        }
        self._folder = cache_root() / "probe-features" / hash_value(self._facts)[:32]

    def shard(self, start: int) -> Path:
        """Where the shard that begins with this image lies."""
        return self._folder / "shards" / f"shard-{start // SHARD_IMAGES:05d}.npz"

    def image_id(self, row: int) -> str:
        """Of an image of the store."""
        return self._store.rows[row].id

    def drop_strange_shards(self) -> None:
        """Shards that a killed run of other code left under the same names are not gone on with."""
        arrays = read_arrays(self.shard(0))
        if arrays is None or self._not_of_this_tokenizer(arrays["rows"][:1], [0]):
            shutil.rmtree(self._folder, ignore_errors=True)

    def require_space(self, dims: int) -> None:
        """Refuse to begin what cannot end: shards and the whole lie side by side for a moment."""
        self._folder.mkdir(parents=True, exist_ok=True)
        needed = 2 * len(self._store) * dims * 4
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            message = (
                f"{self._source.tokenizer.info.full_name}: {self.kind!r} features of "
                f"{len(self._store):,} images need {needed / 1e9:.2f} GB below {cache_root()}, and "
                f"{free / 1e9:.2f} GB are free. Free space, set MEDBENCH_CACHE to another place, "
                "or use --limit."
            )
            raise UsageError(message)

    def finish(self) -> Features:
        """Shards to one array; the facts are written last."""
        starts = range(0, len(self._store), SHARD_IMAGES)
        digest, seconds, dims = hashlib.sha256(), 0.0, 0
        with atomic_writer(self._folder / "features.npy") as file:
            for start in starts:
                arrays = read_arrays(self.shard(start))
                if arrays is None:
                    message = f"{self.shard(start)} vanished or is damaged. Run again."
                    raise UsageError(message)
                rows = np.ascontiguousarray(arrays["rows"], dtype=np.float32)
                if not dims:
                    dims = rows.shape[1]
                    header = {
                        "descr": np.lib.format.dtype_to_descr(rows.dtype),
                        "fortran_order": False,
                        "shape": (len(self._store), dims),
                    }
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(rows.data)
                digest.update(rows.data)
                seconds += float(arrays["seconds"])
        shape = [len(self._store), dims]
        facts = self._facts | {"shape": shape, "sha256": digest.hexdigest(), "seconds": seconds}
        write_json(self._folder / "facts.json", facts)
        shutil.rmtree(self._folder / "shards", ignore_errors=True)
        rows = np.load(self._folder / "features.npy", mmap_mode="r")
        return Features(rows, seconds)

    def load(self) -> Features | None:
        """The finished entry; None where there is none that can be trusted."""
        try:
            facts = json.loads((self._folder / "facts.json").read_text(encoding="utf-8"))
            rows = np.load(self._folder / "features.npy", mmap_mode="r")
            problem = self._problem(facts, rows)
            seconds = float(facts["seconds"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem, rows, seconds = str(error), np.empty(0), 0.0
        if problem is None:
            return Features(rows, seconds)
        logger.warning("features in %s are not used (%s); computed again", self._folder, problem)
        shutil.rmtree(self._folder, ignore_errors=True)
        return None

    def _problem(self, facts: Mapping[str, Any], rows: np.ndarray) -> str | None:
        other = [name for name, value in self._facts.items() if facts[name] != value]
        if other:
            return f"another {', '.join(other)}"
        if list(rows.shape) != facts["shape"] or len(rows) != len(self._store):
            return f"shape {rows.shape}"
        if rows.dtype != np.float32:
            return f"type {rows.dtype}"
        digest = hashlib.sha256()
        for start in range(0, len(rows), SHARD_IMAGES):
            digest.update(np.ascontiguousarray(rows[start : start + SHARD_IMAGES]).data)
        if digest.hexdigest() != facts["sha256"]:
            return "damaged"
        ends = sorted({0, len(rows) - 1})
        return self._not_of_this_tokenizer(rows[ends], ends)

    def _not_of_this_tokenizer(self, kept: np.ndarray, chosen: list[int]) -> str | None:
        """Why the features kept of the chosen images are not this tokenizer's; None: they are."""
        images = np.concatenate([self._store.read(row, row + 1) for row in chosen])
        try:
            now = features_of_images(self._source, images, [self.kind])[self.kind]
        except MedbenchError as error:
            return str(error)
        if now.shape != kept.shape:
            return f"the tokenizer gives {now.shape[1]} features now"
        difference = np.linalg.norm(now - kept, axis=1)
        if (difference <= SAME * np.linalg.norm(kept, axis=1)).all():
            return None
        return "the tokenizer gives other features now"
