"""Peak anonymous memory and time per image of a run, for few and for many images.

    python benchmarks/memory.py [--tasks recon probe] [--counts 1000 10000] [--tokenizer down16]

Images are generated (64 px, two classes), written as a MedMNIST-like file and read through the
ordinary reader. Anonymous memory is what a process cannot give back to the system: memory-mapped
caches do not count. The images are ingested by a first run; all else that is kept is made in the
runs after it, which are timed; the memory is that of all. Runs on 64 images are taken off the
times, because starting costs the same for any number of them. Wanted: both within 10 per cent from
1,000 to 10,000 images.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from tabulate import tabulate

START = 64
"""Images of the run whose time is taken off."""
REPEATS = 3
"""Timed runs on few images, whose time is hardly more than that of starting."""
FEW = 1000
LOOKS_PER_SECOND = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took.

    Attributes:
        anonymous: peak, MiB, of the process and its children.
        seconds: of the processor.
    """

    anonymous: float
    seconds: float


def write_set(path: Path, count: int) -> None:
    """`count` test images; 200 to fit and 100 to choose with."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, images in (("train", 200), ("val", 100), ("test", count)):
        labels = np.arange(images) % 2
        coarse = rng.normal(128 + 12 * labels[:, None, None], 40, (images, 8, 8))
        fine = zoom(coarse, (1, 8, 8), order=1)
        arrays[f"{part}_images"] = fine.clip(0, 255).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(path, **arrays)


def run(words: list[str], cache: Path) -> Cost:
    """Run medbench, looking at its memory."""
    environment = {**os.environ, "MEDBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "medbench", "run", *words]
    peak = 0.0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(1 / LOOKS_PER_SECOND)
    if process.returncode:
        raise SystemExit(process.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(peak, seconds)


def both(words: list[str], folder: Path, repeats: int) -> Cost:
    """The run that ingests (benchmarks/ingest.py measures its time), and the one after it.

    The least time of several runs is that of the least disturbed one.
    """
    cache = folder / "cache"
    costs = [run([*words, "--output", str(folder / "first")], cache)]
    for number in range(repeats):
        for kept in cache.iterdir():
            if kept.is_dir() and kept.name != "images":
                shutil.rmtree(kept)
        costs.append(run([*words, "--output", str(folder / f"timed-{number}")], cache))
    anonymous = max(cost.anonymous for cost in costs)
    return Cost(anonymous, min(cost.seconds for cost in costs[1:]))


def anonymous(process: int) -> float:
    """MiB of anonymous memory of a process now; 0 where it is gone."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["recon", "probe"])
    parser.add_argument("--counts", nargs="+", type=int, default=[1000, 10000])
    parser.add_argument("--tokenizer", default="down16")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for task in asked.tasks:
            costs = {}
            for count in (START, *asked.counts):
                path = root / f"set-{count}.npz"
                if not path.exists():
                    write_set(path, count)
                words = ["--tokenizer", asked.tokenizer, "--task", task]
                words += ["--dataset", f"npz@mri:{path}"]
                repeats = REPEATS if count <= FEW else 1
                costs[count] = both(words, root / f"{task}-{count}", repeats)
            rows += [
                [
                    task,
                    count,
                    costs[count].anonymous,
                    1e3 * (costs[count].seconds - costs[START].seconds) / (count - START),
                ]
                for count in asked.counts
            ]
    headers = ["task", "images", "peak anonymous MiB", "CPU ms per image"]
    sys.stdout.write(tabulate(rows, headers, floatfmt=".1f") + "\n")


if __name__ == "__main__":
    main()
