"""The feature space of the Fréchet and kernel distances, and the originals' features, kept once.

`rfid` and `kid` are computed only with the FID Inception and its own weights file. Where that
file is not here, they are absent with the reason, and the random network's house metrics stand in
under names of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.metrics.extractors import inception_definition, inception_file, random_definition
from ...harness.shards import run_shards

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.metrics.extractors.protocol import Extractor

BATCH = 8
"""Images per extractor call: fixed, so that features do not depend on the run's batch size."""

_CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Space:
    """One feature space, and the names that its distances have."""

    name: str
    definition: Mapping[str, Any]
    frechet: str
    kernel: str
    absent: tuple[str, ...] = ()
    """Metrics that this space cannot give."""
    needs: str = ""
    """What the absent metrics would need."""
    reason: str = ""
    """Why they are absent, with what to do."""


def available_space() -> Space:
    """The FID Inception where its weights are on this machine, else the random network."""
    found = inception_file.locate()
    if found is not None:
        return Space("inception2015", inception_definition.DEFINITION, "rfid", "kid")
    return Space(
        "random",
        random_definition.DEFINITION,
        "rfd_random",
        "kid_random",
        absent=("rfid", "kid"),
        needs=inception_definition.FILE_NAME,
        reason=inception_file.absence(),
    )


def build_extractor(space: Space, *, device: str) -> Extractor:
    """The network of a space, on a device."""
    if space.name == "random":
        from ...harness.metrics.extractors.random_conv import RandomConvExtractor

        return RandomConvExtractor(device=device)
    from ...harness.metrics.extractors.inception import InceptionExtractor

    path = inception_file.locate()
    assert path is not None, "the space was chosen because the file is here"
    sha256 = str(space.definition["weights_sha256"])
    return InceptionExtractor(path, sha256=sha256, device=device)


def extract(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    """uint8 (n, H, H, 3) -> float32 (n, d), in batches of a fixed size."""
    starts = range(0, len(images), BATCH)
    return np.concatenate([extractor(images[start : start + BATCH]) for start in starts])


def original_features(store: ImageStore, extractor: Extractor, *, device: str) -> np.ndarray:
    """Features of a data set's originals: computed once for all tokenizers, then read.

    float32 (N, d). Keyed by the pixels, the extractor and the kind of device.
    """
    key = hash_value(
        [_CACHE_VERSION, dict(extractor.definition), store.fingerprint, device.split(":")[0]]
    )
    folder = cache_root() / "features" / key[:32]
    shards = run_shards(
        folder,
        len(store),
        lambda start, stop: {"features": extract(extractor, store.read(start, stop))},
        label="features of the originals",
    )
    return np.concatenate([shard["features"] for shard in shards])
