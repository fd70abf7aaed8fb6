"""Sampling, in resumable shards: codes, then what is measured of the decoded images."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.shards import SHARD_IMAGES, BatchSize, run_shards
from ..recon.features import extract
from .tokens import decode_codes

if TYPE_CHECKING:
    from ...harness.metrics.extractors.protocol import Extractor
    from ...harness.shards import Arrays
    from ...harness.task import Cell
    from ..classifier import Classifier
    from .generator.network import Generator
    from .generator.sampling import Sampling

logger = logging.getLogger(__name__)

_PER_CLASS = 1 << 32
"""Numbers that each class has for its images: more images of one change no other's."""
_PER_RUN = 1 << 16
"""Sampling seeds that each seed of a run has."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which sample is which: classes take turns.

    Attributes:
        classes: their number.
        per_class: samples of each.
    """

    classes: int
    per_class: int

    def __len__(self) -> int:
        return self.classes * self.per_class

    def class_of(self, place: int) -> int:
        """Class number of the sample at that place."""
        return place % self.classes

    def image_number(self, place: int) -> int:
        """The number from which its codes follow, together with the seed."""
        return self.class_of(place) * _PER_CLASS + place // self.classes

    def places(self, number: int) -> np.ndarray:
        """Where the samples of a class lie, in their order."""
        return np.arange(self.per_class) * self.classes + number


@dataclass(frozen=True, slots=True)
class Tools:
    """What samples are made and measured with."""

    generator: Generator
    sampling: Sampling
    extractor: Extractor
    namer: Classifier


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """All samples of one sampling seed, in `Order`.

    Attributes:
        codes: unsigned integers (n, K, L).
        features: float32 (n, d).
        named: int64 (n,), what the namer calls each.
        sha256: of each image's pixels, hex.
        seconds: of sampling, and of decoding and measuring.
    """

    codes: np.ndarray
    features: np.ndarray
    named: np.ndarray
    sha256: np.ndarray
    seconds: np.ndarray


def sample_set(cell: Cell, tools: Tools, order: Order, number: int) -> SampleSet:
    """The samples of the `number`-th sampling seed."""
    seed = cell.seed * _PER_RUN + number
    batch = BatchSize(SHARD_IMAGES, device=cell.device)
    shards = list(
        run_shards(
            cell.work / f"samples-{number}",
            len(order),
            lambda start, stop: _shard(cell, tools, order, batch, seed, range(start, stop)),
            label=f"samples of {cell.tokenizer.info.full_name}, seed {number}",
        )
    )
    joined = {name: np.concatenate([s[name] for s in shards]) for name in shards[0] if name != "s"}
    seconds = np.sum([shard["s"] for shard in shards], axis=0)
    logger.info("seed %d: %d samples, %.2f images/s", number, len(order), len(order) / seconds[0])
    return SampleSet(**joined, seconds=seconds)


def _shard(
    cell: Cell, tools: Tools, order: Order, batch: BatchSize, seed: int, places: range
) -> Arrays:
    began = time.perf_counter()
    codes = batch.attempt(lambda size: _codes(tools, order, seed, places, size))
    drawn = time.perf_counter()
    images = decode_codes(cell, codes)
    return {
        "codes": codes,
        "features": extract(tools.extractor, images),
        "named": tools.namer.name(images),
        "sha256": np.array([hashlib.sha256(image.data).hexdigest() for image in images]),
        "s": np.array([drawn - began, time.perf_counter() - drawn]),
    }


def _codes(tools: Tools, order: Order, seed: int, places: range, size: int) -> np.ndarray:
    parts = []
    for start in range(0, len(places), size):
        chosen = places[start : start + size]
        codes = tools.generator.generate(
            [order.class_of(place) for place in chosen],
            sampling=tools.sampling,
            seed=seed,
            images=[order.image_number(place) for place in chosen],
        )
        codes = codes[:, None] if codes.ndim == 2 else codes
        parts.append(codes.cpu().numpy())
    dtype = np.min_scalar_type(tools.generator.config.codebook_size - 1)
    return np.concatenate(parts).astype(dtype)
