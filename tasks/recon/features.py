"""The feature spaces of the Fréchet and kernel distances, and the originals' features, kept once.

`rfid` and `kid` are computed only with the FID Inception and its own weights file. Where that
file is not here, they are absent with the reason. The random network's house metrics have names of
their own, and so have distances in further spaces, which a metric's setting names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness import ranks
from ...harness.errors import MissingPrerequisite
from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.metrics.extractors import inception_definition, inception_file, random_definition
from ...harness.metrics.extractors.named import NamedExtractor
from ...harness.sealed import is_whole, sealed_writer
from ...harness.shards import run_shards
from .options import Asked

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
    setting: str = ""
    """Of the metrics; empty where their names say the space."""
    absent: tuple[str, ...] = ()
    """Metrics that this space stands in for, and cannot give."""
    needs: str = ""
    """What the absent metrics would need."""
    reason: str = ""
    """Why they are absent, with what to do."""
    variant: str = ""
    """Of the FID Inception's input."""
    network: NamedExtractor | None = None
    """Of a further space."""


def available_space() -> Space:
    """The FID Inception where its weights are on this machine, else the random network."""
    if inception_file.locate() is not None:
        return _inception("")
    return replace(
        _RANDOM,
        absent=("rfid", "kid"),
        needs=inception_definition.FILE_NAME,
        reason=inception_file.absence(),
    )


def spaces(asked: Asked) -> list[Space]:
    """All spaces of a run: the available one, the random network, and what was asked for.

    Raises:
        MissingPrerequisite: a variant of the FID Inception without its weights.
    """
    main = available_space()
    if asked.variants and main.name == _RANDOM.name:
        message = f"--extractor {','.join(asked.variants)}: {inception_file.absence()}"
        raise MissingPrerequisite(message)
    found = [main] if main.name == _RANDOM.name else [main, _RANDOM]
    found += [_inception(variant) for variant in asked.variants]
    for network in asked.networks:
        found.append(
            Space(
                network.name,
                network.definition,
                "rfd",
                "kd",
                setting=network.name,
                network=network,
            )
        )
    return found


def _inception(variant: str) -> Space:
    name = f"inception2015-{variant}" if variant else "inception2015"
    definition = inception_definition.variant_definition(variant)
    return Space(name, definition, "rfid", "kid", setting=variant, variant=variant)


_RANDOM = Space("random", random_definition.DEFINITION, "rfd_random", "kid_random")


def build_extractor(space: Space, *, device: str) -> Extractor:
    """The network of a space, on a device."""
    if space.network is not None:
        from ...harness.metrics.extractors.encoder import EncoderExtractor

        return EncoderExtractor(space.network, device=device)
    if space.name == _RANDOM.name:
        from ...harness.metrics.extractors.random_conv import RandomConvExtractor

        return RandomConvExtractor(device=device)
    from ...harness.metrics.extractors.inception import InceptionExtractor

    path = inception_file.locate()
    assert path is not None, "the space was chosen because the file is here"
    sha256 = str(space.definition["weights_sha256"])
    return InceptionExtractor(path, sha256=sha256, variant=space.variant, device=device)


def extract(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    """uint8 (n, H, H, 3) -> float32 (n, d), in batches of a fixed size."""
    starts = range(0, len(images), BATCH)
    return np.concatenate([extractor(images[start : start + BATCH]) for start in starts])


def original_features(store: ImageStore, extractor: Extractor, *, device: str) -> np.ndarray:
    """Features of a data set's originals: computed once for all tokenizers, then read.

    float32 (N, d), memory-mapped. Keyed by the pixels, the extractor and the kind of device.
    """
    key = hash_value(
        [_CACHE_VERSION, dict(extractor.definition), store.fingerprint, device.split(":")[0]]
    )
    folder = cache_root() / "features" / key[:32]
    path = folder / "features.npy"
    if ranks.first(lambda: is_whole(path)):
        return np.load(path, mmap_mode="r")
    shards = run_shards(
        folder,
        len(store),
        lambda start, stop: {"features": extract(extractor, store.read(start, stop))},
        label="features of the originals",
    )
    return mapped((shard["features"] for shard in shards), path, len(store))


def mapped(parts: Iterable[np.ndarray], path: Path, count: int) -> np.ndarray:
    """Join the shards of `count` rows in a sealed file, and map it: memory does not grow with them.

    Of several ranks the first one writes; all take the first shard, as shards are made together.
    """
    ahead = iter(parts)
    head = next(ahead)

    def join() -> None:
        header = {"descr": head.dtype.str, "fortran_order": False, "shape": (count, head.shape[1])}
        # Written, not mapped for writing: a full disk is then an error and no crash.
        with sealed_writer(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in chain([head], ahead):
                file.write(np.ascontiguousarray(part).data)

    ranks.first(join)
    return np.load(path, mmap_mode="r")
