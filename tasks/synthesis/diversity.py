"""MS-SSIM diversity of the samples, and of the real images beside it; kept class by class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.diversity import diversity
from ...harness.progress import track
from ...harness.shards import read_arrays, write_arrays
from ...harness.vocabulary import POOLED, REAL
from .reference import ReferenceClass, read_images, stores_of
from .sample import Order, SampleSet
from .scores import Scores, Value

if TYPE_CHECKING:
    from pathlib import Path

    from ...harness.task import Cell


def add_diversity(
    cell: Cell,
    scores: Scores,
    count: int,
    reference: list[ReferenceClass],
    samples: list[SampleSet],
    order: Order,
) -> None:
    """Diversity of `count` samples of each class (and seed), and of as many real images."""
    stores = stores_of(cell)
    of_samples: dict[str, Value | str] = {}
    of_real: dict[str, Value | str] = {}
    tracked = track(reference, total=len(reference), label="diversity")
    for number, each in enumerate(tracked):
        used = min(count, len(each.images), order.per_class)
        places = order.places(number)[:used]
        name = f"diversity-{number}.npz"
        try:
            values = [
                _kept(one.images.folder / name, lambda one=one, at=places: one.images.at(at))
                for one in samples
            ]
            real = _kept(
                cell.work / name,
                lambda each=each, used=used: read_images(stores, each.images[:used]),
            )
        except MetricError as error:
            of_samples[each.name] = of_real[each.name] = str(error)
            continue
        pairs = f"all pairs of {used} images a class"
        of_samples[each.name] = Value(tuple(values), used, (pairs,))
        of_real[each.name] = Value((real,), used, (*each.flags, pairs))
    if len(reference) > 1:
        # Pairs across classes say how the classes differ, so the pooled value is their mean.
        of_samples[POOLED] = scores.mean_over_classes(of_samples)
        of_real[POOLED] = scores.mean_over_classes(of_real)
    scores.add("diversity", of_samples)
    scores.add("diversity", of_real, setting=REAL)


def _kept(path: Path, images: Callable[[], np.ndarray]) -> float:
    arrays = read_arrays(path)
    if arrays is None:
        arrays = {"value": np.array(diversity(images()))}
        write_arrays(path, arrays)
    return float(arrays["value"])
