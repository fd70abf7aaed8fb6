"""Features of a tokenizer for probes, computed once per weights, images and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..array_cache import Kept, Wanted, kept_arrays, nearly_equal
from ..errors import CellFailed
from ..locations import cache_root
from ..reading import ReadAhead, to_tensor
from .features import FeatureKind, features_by_kind

if TYPE_CHECKING:
    from ..datasets.store import ImageStore
    from ..protocol import Tokenizer
    from ..shards import BatchSize


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


def cached_features(
    source: FeatureSource, store: ImageStore, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, Kept]:
    """Features of all images of a store, float32 (N, d), from the cache where it has them.

    Raises:
        CellFailed: features that are not finite; names the tokenizer and the first such image.
        UsageError: the cache cannot be written, with how much space is needed.
    """
    info = source.tokenizer.info
    read = ReadAhead(store, source.device)

    def compute(start: int, stop: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        wanted: list[FeatureKind] = [kind for kind in kinds if kind in set(names)]
        found: dict[str, np.ndarray] = {}
        for kind, rows in features_of_images(source, read(start, stop), wanted).items():
            _require_finite(rows, f"{info.full_name}: {kind!r}", store, start)
            found[kind] = rows
        return found

    facts = {
        "tokenizer": info.full_name,
        "identity": dict(source.identity),
        "device": source.device.split(":")[0],
        "images": store.fingerprint,
    }
    wanted = Wanted(
        place=cache_root() / "probe-features",
        what=f"features of {info.full_name}",
        facts={kind: facts | {"kind": kind} for kind in kinds},
        count=len(store),
        compute=compute,
        alike=nearly_equal,
    )
    found = kept_arrays(wanted)
    return {kind: found[kind] for kind in kinds}


@torch.inference_mode()
def features_of_images(
    source: FeatureSource, images: np.ndarray, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, np.ndarray]:
    """Several kinds of features, float32 (n, d) by kind, of uint8 (n, H, H, 3)."""

    def work(size: int) -> dict[FeatureKind, np.ndarray]:
        parts: dict[FeatureKind, list[np.ndarray]] = {kind: [] for kind in kinds}
        for start in range(0, len(images), size):
            given = to_tensor(images[start : start + size], source.device)
            for kind, rows in features_by_kind(source.tokenizer, given, kinds).items():
                parts[kind].append(rows.cpu().numpy())
        return {kind: np.concatenate(rows).astype(np.float32) for kind, rows in parts.items()}

    return source.batch.attempt(work)


def _require_finite(rows: np.ndarray, what: str, store: ImageStore, start: int) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        message = (
            f"{what} features of {broken.size} of {len(rows)} images are not finite, the first "
            f"{store.rows[start + int(broken[0])].id!r}. Look for NaN in the weights, or for an "
            "overflow in half precision."
        )
        raise CellFailed(message)
