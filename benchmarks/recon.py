"""A whole reconstruction run against its kernels alone, and its memory as images grow.

    python benchmarks/recon.py [--images 512] [--tokenizer meditok]
    python benchmarks/recon.py --memory 1000 10000

The run is that of `medbench run`, on images that are ingested before; its kernels are the
tokenizer, the extractor and the metrics, called on the same images in the same process, originals
passing the extractor once. Memory is the largest anonymous memory of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

SHARD = 64
ROUNDS = 3
"""Of run and kernels in turns; medians count."""


def make_images(folder: Path, count: int) -> str:
    """An npz file of `count` colour images of 64 pixels; returns how medbench names it."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    images += rng.integers(0, 20, images.shape, dtype=np.uint8)
    labels = np.zeros((count, 1), dtype=np.uint8)
    np.savez(folder / "images.npz", test_images=images, test_labels=labels)
    return f"npz@fundus:{folder / 'images.npz'}"


def measure_run(tokenizer: str, dataset: str, output: Path) -> float:
    """CPU seconds of the run."""
    from medbench.harness.request import Request
    from medbench.harness.runner import execute

    begun = time.process_time()
    (cell,) = execute(Request([tokenizer], dataset=dataset, output=output)).cells
    if cell.error is not None:
        raise cell.error
    return time.process_time() - begun


def measure_kernels(tokenizer: str, dataset: str) -> dict[str, float]:
    """CPU seconds of each kernel over all images."""
    from medbench.harness.datasets.store import ingest
    from medbench.harness.metrics.channels import channel_disagreement
    from medbench.harness.registry import load_dataset
    from medbench.harness.tokenizer_registry import load_tokenizer
    from medbench.tasks.recon.features import build_extractor, extract, spaces
    from medbench.tasks.recon.measure import reconstruct, scores
    from medbench.tasks.recon.options import Asked

    store = ingest(load_dataset(dataset))
    network = load_tokenizer(tokenizer)
    extractors = [build_extractor(space, device="cpu") for space in spaces(Asked())]
    seconds = {"tokenizer": 0.0, "extractor": 0.0, "metrics": 0.0}

    def timed(name: str, work: Callable[[], object]) -> object:
        begun = time.process_time()
        result = work()
        seconds[name] += time.process_time() - begun
        return result

    for start in range(0, len(store), SHARD):
        images = store.read(start, start + SHARD)
        made = timed("tokenizer", lambda x=images: reconstruct(network, x, batch=8, device="cpu"))
        back = made.images  # type: ignore[attr-defined]
        for extractor in extractors:
            timed("extractor", lambda x=images, e=extractor: extract(e, x))
            timed("extractor", lambda x=back, e=extractor: extract(e, x))
        timed("metrics", lambda x=images, y=back: (scores(x, y), channel_disagreement(x, y)))
    return seconds


def compare_run(tokenizer: str, count: int) -> None:
    """Print the run's seconds beside those of its kernels."""
    torch.set_num_threads(1)
    from medbench.harness.datasets.store import ingest
    from medbench.harness.registry import load_dataset

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MEDBENCH_CACHE"] = str(folder / "cache")
        dataset = make_images(folder, count)
        ingest(load_dataset(dataset))
        # The trivial bounds are measured once per data set, for all tokenizers.
        measure_run(tokenizer, dataset, folder / "first")
        runs, kernels = [], []
        for turn in range(ROUNDS):
            for features in (folder / "cache" / "features").iterdir():
                for file in features.iterdir():
                    file.unlink()
            runs.append(measure_run(tokenizer, dataset, folder / f"results-{turn}"))
            kernels.append(measure_kernels(tokenizer, dataset))
    parts = {part: statistics.median(each[part] for each in kernels) for part in kernels[0]}
    total = statistics.median(sum(each.values()) for each in kernels)
    whole = statistics.median(runs)
    rows = [[part, f"{seconds:.2f}"] for part, seconds in parts.items()]
    rows += [["all kernels", f"{total:.2f}"], ["whole run", f"{whole:.2f}"]]
    print(tabulate(rows, headers=[f"{tokenizer}, {count} images", "CPU s"], tablefmt="simple"))
    print(f"run / kernels: {whole / total:.3f}")


def peak_memory(tokenizer: str, count: int) -> float:
    """Largest anonymous memory, in MB, of a process that runs `count` ingested images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"MEDBENCH_CACHE": str(folder / "cache")}
        dataset = make_images(folder, count)
        call = [sys.executable, __file__, "--tokenizer", tokenizer, "--inside"]
        for step in ("ingest", "run"):
            command = [*call, step, dataset, str(folder / "results")]
            done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def inside(step: str, dataset: str, output: str, tokenizer: str) -> None:
    """What the process of `peak_memory` does."""
    torch.set_num_threads(1)
    from medbench.harness.datasets.store import ingest
    from medbench.harness.registry import load_dataset

    if step == "ingest":
        ingest(load_dataset(dataset))
        print(0)
        return
    largest, running = [0], threading.Event()

    def watch() -> None:
        while not running.wait(0.05):
            largest[0] = max(largest[0], _anonymous_kilobytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    measure_run(tokenizer, dataset, Path(output))
    running.set()
    watcher.join()
    print(largest[0] / 1000)


def _anonymous_kilobytes() -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("RssAnon:")[2].split()[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", default="meditok")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--memory", type=int, nargs="+", metavar="COUNT")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        step, dataset, output = options.inside
        inside(step, dataset, output, options.tokenizer)
    elif options.memory:
        rows = [[count, f"{peak_memory(options.tokenizer, count):.0f}"] for count in options.memory]
        print(tabulate(rows, headers=["images", "anonymous MB at most"], tablefmt="simple"))
    else:
        compare_run(options.tokenizer, options.images)


if __name__ == "__main__":
    main()
