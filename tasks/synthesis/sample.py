"""Sampling: codes, kept once for a generator and a seed, then what is measured of their images."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.array_cache import Kept, Wanted, kept_arrays
from ...harness.errors import CellFailed
from ...harness.locations import cache_root
from ...harness.shards import out_of_memory, run_shards
from ..recon.features import extract
from .decoded import Decoded
from .generator.sampling import RULE

if TYPE_CHECKING:
    from ...harness.metrics.extractors.protocol import Extractor
    from ...harness.shards import Arrays
    from ...harness.task import Cell
    from ..classifier import Classifier
    from .generator.network import Generator
    from .generator.sampling import Sampling

logger = logging.getLogger(__name__)

_VERSION = 2
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
    """What samples are made and measured with.

    Attributes:
        generator: in evaluation mode.
        weights_sha256: of its weights.
        numbers: the generator's number of each class.
        sampling: how codes are chosen.
        extractor: of features.
        namer: says what a sample shows.
    """

    generator: Generator
    weights_sha256: str
    numbers: tuple[int, ...]
    sampling: Sampling
    extractor: Extractor
    namer: Classifier


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """All samples of one sampling seed, in `Order`.

    Attributes:
        codes: unsigned integers (n, K, L), memory-mapped.
        images: of these codes.
        features: float32 (n, d).
        named: int64 (n,), what the namer calls each.
        sha256: of each image's pixels, hex.
        seconds: of sampling, and of decoding and measuring, whenever that was.
    """

    codes: np.ndarray
    images: Decoded
    features: np.ndarray
    named: np.ndarray
    sha256: np.ndarray
    seconds: np.ndarray


def sample_set(cell: Cell, tools: Tools, order: Order, number: int, again: int) -> SampleSet:
    """The samples of the `number`-th sampling seed; `again` of each class are shown again later."""
    label = f"samples of {cell.tokenizer.info.full_name}, seed {number}"
    drawn = _codes(cell, tools, order, cell.seed * _PER_RUN + number, label)
    # Of these codes alone: a cell that goes on elsewhere may have another generator.
    folder = cell.work / f"samples-{drawn.sha256[:16]}"
    decoded = Decoded(cell, drawn.rows, folder, min(len(order), order.classes * again))

    def shard(start: int, stop: int) -> Arrays:
        began = time.perf_counter()
        images = decoded.shard(start, stop)
        return {
            "features": extract(tools.extractor, images),
            "named": tools.namer.name(images),
            "sha256": np.array([hashlib.sha256(image.data).hexdigest() for image in images]),
            "s": np.array(time.perf_counter() - began),
        }

    shards = list(run_shards(folder, len(order), shard, label=f"images of the {label}"))
    joined = {name: np.concatenate([s[name] for s in shards]) for name in shards[0] if name != "s"}
    measuring = sum(float(each["s"]) for each in shards)
    return SampleSet(drawn.rows, decoded, **joined, seconds=np.array([drawn.seconds, measuring]))


def _codes(cell: Cell, tools: Tools, order: Order, seed: int, label: str) -> Kept:
    """Codes of a seed: another definition of a metric, or more seeds, draw none of them again."""

    def compute(start: int, stop: int, _: Sequence[str]) -> Arrays:
        try:
            return {"codes": _drawn(tools, order, seed, start, stop)}
        except Exception as error:
            if not out_of_memory(error):
                raise
            # Fewer at a time would be other samples under the same name.
            message = (
                f"not enough memory to draw {tools.sampling.rows} images at a time. Use another "
                "--device, or a --preset FILE with fewer `sampling: {rows: ...}`: a definition of "
                "its own."
            )
            raise CellFailed(message) from error

    facts = {
        "version": _VERSION,
        "generator": tools.weights_sha256,
        "config": asdict(tools.generator.config),
        "classes": list(tools.numbers),
        "sampling": {**asdict(tools.sampling), "draws": RULE},
        "seed": seed,
        "device": cell.device.split(":")[0],
    }
    wanted = Wanted(
        place=cache_root() / "samples",
        what=label,
        facts={"codes": facts},
        count=len(order),
        compute=compute,
        alike=None,  # the weights' hash says all
    )
    return kept_arrays(wanted)["codes"]


def _drawn(tools: Tools, order: Order, seed: int, start: int, stop: int) -> np.ndarray:
    """Codes (n, K, L) of the places start..stop."""
    places = range(start, stop)
    codes = tools.generator.generate(
        [tools.numbers[order.class_of(place)] for place in places],
        sampling=tools.sampling,
        seed=seed,
        images=[order.image_number(place) for place in places],
    )
    dtype = np.min_scalar_type(tools.generator.config.codebook_size - 1)
    return (codes[:, None] if codes.ndim == 2 else codes).cpu().numpy().astype(dtype)
