"""Ingest against plain Pillow in a DataLoader, and the memory it takes.

python benchmarks/ingest.py speed     1024 px JPEG and PNG to 256, both sides with two workers
python benchmarks/ingest.py memory    anonymous memory of 1,000 and 20,000 small images
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tabulate import tabulate

from medbench.harness.datasets.folder import build
from medbench.harness.datasets.store import ingest

SIDE, TARGET, WORKERS = 1024, 256, 2


def picture(rng: np.random.Generator, side: int) -> Image.Image:
    """Smooth structure with noise, so that files are neither trivial nor incompressible."""
    coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-6, 7, smooth.shape, dtype=np.int16)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


class Plain:
    """What a user writes without medbench: decode, resize, array."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        with Image.open(self.files[index]) as image:
            small = image.convert("RGB").resize((TARGET, TARGET), Image.Resampling.BILINEAR)
        return np.asarray(small).copy()


def load_plainly(loader: Iterable[object]) -> None:
    """All files through a DataLoader whose workers run already."""
    for _batch in loader:
        pass


def load_by_ingest(root: Path) -> None:
    """All files through medbench with an empty cache, hashes and the array on disk included."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MEDBENCH_CACHE"] = cache
        ingest(build(f"folder:{root}", argument=str(root)))


def speed(count: int, rounds: int) -> None:
    """Both sides take turns after a warm-up each; the median of the rounds' ratios counts."""
    from torch.utils.data import DataLoader

    rng = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in ("jpg", "png"):
            root = Path(scratch) / suffix
            (root / "xray").mkdir(parents=True)
            files = [root / "xray" / f"{index:04d}.{suffix}" for index in range(count)]
            for file in files:
                picture(rng, SIDE).save(file)
            loader = DataLoader(
                Plain(files),  # pyright: ignore[reportArgumentType]
                batch_size=32,
                num_workers=WORKERS,
                persistent_workers=True,
            )
            load_plainly(loader)
            load_by_ingest(root)
            seconds: dict[str, list[float]] = {"DataLoader": [], "medbench": []}
            for _ in range(rounds):
                for name in seconds:
                    begun = time.perf_counter()
                    load_plainly(loader) if name == "DataLoader" else load_by_ingest(root)
                    seconds[name].append(time.perf_counter() - begun)
            plain, ours = (statistics.median(values) for values in seconds.values())
            pairs = zip(*seconds.values(), strict=True)
            ratio = statistics.median(theirs / mine for theirs, mine in pairs)
            rates = f"{count / plain:.1f}", f"{count / ours:.1f}"
            rows.append([suffix, count, *rates, f"{ratio:.2f}"])
    columns = ["1024 px", "images", "DataLoader img/s", "medbench img/s", "ratio"]
    print(tabulate(rows, headers=columns, tablefmt="simple"))


def anonymous_mib() -> float:
    """RssAnon of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    message = "/proc/self/status has no RssAnon"
    raise RuntimeError(message)


def measure_memory(root: Path) -> None:
    """Ingest a folder while a thread samples; prints growth over the start, in MiB."""
    before, peak, done = anonymous_mib(), [0.0], threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_mib())

    watcher = threading.Thread(target=sample)
    watcher.start()
    load_by_ingest(root)
    done.set()
    watcher.join()
    print(f"{peak[0] - before:.1f}")


def memory(sizes: Sequence[int]) -> None:
    """One process a size."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        shown = picture(np.random.default_rng(0), 64)
        for size in sizes:
            root = Path(scratch) / str(size)
            (root / "xray").mkdir(parents=True)
            for index in range(size):
                pixels = np.asarray(shown).copy()
                pixels[0, 0] = index % 251
                Image.fromarray(pixels).save(root / "xray" / f"{index:05d}.jpg")
            command = [sys.executable, __file__, "measure", str(root)]
            grown = float(subprocess.run(command, check=True, capture_output=True).stdout)
            rows.append([size, f"{grown:.1f}"])
    print(tabulate(rows, headers=["images", "anonymous MiB, peak over start"], tablefmt="simple"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["speed", "memory", "measure"])
    parser.add_argument("folder", nargs="?", type=Path, help="of images, for measure")
    parser.add_argument("--count", type=int, default=128, help="images a format, for speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 20_000])
    given = parser.parse_args(arguments)
    if given.what == "speed":
        speed(given.count, given.rounds)
    elif given.what == "memory":
        memory(given.sizes)
    elif given.folder is None:
        parser.error("measure needs a folder")
    else:
        measure_memory(given.folder)


if __name__ == "__main__":
    main()
