"""Images per second that a training run can be fed with.

    python benchmarks/feed.py [--seconds N]

Crops of painted pools (painted first, into the cache), and 1024 px photographs under MedITok's
augmentation, read anew or prepared once. Wall time with two workers; CPU time of one image beside
it, which neighbours on the machine do not change.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ingest import picture
from tabulate import tabulate

from medbench.harness.locations import cache_root
from medbench.harness.training.feed import Batch, Feed
from medbench.harness.training.sources.build import build_source
from medbench.harness.training.sources.source import ImageSource

POOLS = {
    "kind": "pools",
    "pools": [
        {"source": "medsynth", "count": 90, "size": 256},
        {"source": "textures", "count": 150, "size": 256},
    ],
    "shares": [0.4, 0.6],
    "augmentation": {
        "natural_scale": 0.5,
        "zoom": [0.5, 1.6],
        "blend": 0.12,
        "grey": 0.25,
        "duotone": 0.3,
        "shift": 0.6,
        "invert": 0.12,
        "gamma": 0.4,
        "contrast": 0.4,
    },
}
BATCH_PIXELS = 12 * 128 * 128
"""Of a step of the small networks."""
WORKERS = 2


def images_per_second(source: ImageSource, side: int, seconds: float) -> float:
    """Through a feed with workers that run already."""
    count = max(BATCH_PIXELS // side**2, 1)
    batches: Iterator[Batch] = Feed(source, lambda _: (count, side), 1, workers=WORKERS).batches(0)
    for _ in range(4 * WORKERS):  # what was prepared while the workers started
        next(batches)
    begun, images = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        images += len(next(batches).images)
    return images / (time.perf_counter() - begun)


def cpu_milliseconds(source: ImageSource, side: int, seconds: float) -> float:
    """Of one image on one thread."""
    torch.set_num_threads(1)
    source.sample(0, side)
    begun, images = time.process_time(), 0
    while time.process_time() - begun < seconds:
        source.sample(images, side)
        images += 1
    return (time.process_time() - begun) / images * 1e3


def photographs(folder: Path) -> str:
    """A folder of sixteen."""
    (folder / "dermoscopy").mkdir()
    rng = np.random.default_rng(0)
    for number in range(16):
        picture(rng, 1024).save(folder / "dermoscopy" / f"{number}.jpg", quality=90)
    return f"folder:{folder}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        listed = {"kind": "dataset", "dataset": photographs(Path(name))}
        forms: list[tuple[str, dict[str, Any], int]] = [
            *((f"pools, crops of {side}", POOLS, side) for side in (64, 128, 256)),
            ("1024 px JPEG, 256", listed, 256),
            ("1024 px JPEG, prepared at 256", {**listed, "prepared": 256}, 256),
        ]
        rows = []
        for title, terms, side in forms:
            source = build_source(terms, seed=0, cache=cache_root(), workers=os.cpu_count() or 1)
            speed = images_per_second(source, side, seconds)
            rows.append([title, f"{speed:.0f}", f"{cpu_milliseconds(source, side, seconds):.2f}"])
    print(tabulate(rows, headers=["source", f"images/s, {WORKERS} workers", "CPU ms an image"]))


if __name__ == "__main__":
    main()
