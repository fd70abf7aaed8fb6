"""How much faster two processes measure a cell than one, each with a single thread.

    python benchmarks/scale.py [--tokenizer vqgan@tiny] [--limits 14 42] [--processes 2]

Wall time of `medbench run` for few and for many images of `medsynth`; the difference is the work,
without what starting costs. Images are ingested, and references computed, before the clock runs.
The default limits give both processes as many shards. Nothing else may run on the machine: both
cores are needed. Wanted: two processes at least 1.7 times as fast as one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and what is measured.

    Attributes:
        root: a folder for results and the cache.
        tokenizer: reference.
    """

    root: Path
    tokenizer: str

    def seconds(self, processes: int, limit: int) -> float:
        """Wall time of one run that finds nothing measured."""
        with tempfile.TemporaryDirectory(dir=self.root) as output:
            words = ["run", "--tokenizer", self.tokenizer, "--task", "recon", "--device", "cpu"]
            words += ["--dataset", "medsynth", "--limit", str(limit), "--output", output]
            launcher = ["-m", "torch.distributed.run", "--standalone"]
            launcher += [f"--nproc-per-node={processes}"]
            command = [sys.executable, *(launcher if processes > 1 else []), "-m", "medbench"]
            cache = {"MEDBENCH_CACHE": str(self.root / "cache"), "OMP_NUM_THREADS": "1"}
            begun = time.monotonic()
            done = subprocess.run(
                [*command, *words],
                env={**os.environ, **cache},
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - begun
        if done.returncode:
            raise SystemExit(done.stderr)
        return seconds

    def work(self, processes: int, limits: tuple[int, int], rounds: int) -> tuple[float, float]:
        """Seconds of starting with few images, and of what many take beyond them; medians."""
        few, many = (
            statistics.median(self.seconds(processes, limit) for _ in range(rounds))
            for limit in limits
        )
        return few, many - few


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokenizer", default="vqgan@tiny")
    parser.add_argument("--limits", nargs=2, type=int, default=[14, 42], metavar=("FEW", "MANY"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    limits = (min(asked.limits), max(asked.limits))
    with tempfile.TemporaryDirectory() as folder:
        for limit in limits:
            Bench(Path(folder), "mean").seconds(1, limit)
        bench = Bench(Path(folder), asked.tokenizer)
        taken = {n: bench.work(n, limits, asked.rounds) for n in (1, asked.processes)}
    rows = [
        [n, f"{few:.1f}", f"{work:.1f}", f"{taken[1][1] / work:.2f}"]
        for n, (few, work) in taken.items()
    ]
    headers = ["processes", f"s, limit {limits[0]}", f"s more, limit {limits[1]}", "times as fast"]
    sys.stdout.write(tabulate(rows, headers, disable_numparse=True) + "\n")


if __name__ == "__main__":
    main()
