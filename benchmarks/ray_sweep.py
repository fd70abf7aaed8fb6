"""Seven tokenizers on four tasks: two nodes of a Ray cluster, of which one is killed, against here.

    python benchmarks/ray_sweep.py --output DIR
    python benchmarks/ray_sweep.py --output DIR --tokenizer mean --tokenizer down16 --task recon

Both nodes are on this machine, with one CPU each. Every cell must end, once, and its record must
be the local engine's: metrics with their intervals, counts and definitions, and the identity.
Networks that the tasks train lie in the cache: each engine has one of its own, below DIR, so that
nothing is compared with itself. Both engines go on where an earlier call was stopped. Exit code 1:
a difference.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from medbench.harness.record_files import load_record, record_files
from medbench.harness.sweep.attempt import Attempt
from medbench.harness.sweep.cells import SweepCell, cells_of
from medbench.harness.sweep.engines import Engine, LocalEngine, RayEngine
from medbench.harness.sweep.recorded import recorded
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms
from medbench.harness.sweep.sweep import SweepResult, work_through

TOKENIZERS = ("meditok", "vqgan", "emu3-vq", "tokenflow", "unitok", "pumit", "medvae")
TASKS = {
    "recon": TaskTerms("recon", limit=4),
    "probe": TaskTerms("probe", limit=24),
    "synthesis": TaskTerms("synthesis", options={"preset": "smoke"}),
    "vqa": TaskTerms("vqa", options={"preset": "smoke"}, limit=4),
}


@dataclass(slots=True)
class Killer:
    """Takes a node away without warning, as soon as a cell has ended."""

    cluster: Any
    ended: list[str] = field(default_factory=list)
    node: str = ""

    def told(self, cell: SweepCell, attempt: Attempt) -> None:
        """A cell ended."""
        self.ended.append(cell.key)
        logging.info("%s: %s", cell.title, attempt.verdict)

    def kill(self, all_done: threading.Event) -> None:
        """Wait for the first end, then kill."""
        while not self.ended:
            if all_done.is_set():
                return
            time.sleep(0.1)
        lost = next(iter(self.cluster.worker_nodes))
        self.node = lost.node_id
        self.cluster.remove_node(lost, allow_graceful=False)


def on_ray(spec: SweepSpec, output: Path) -> tuple[SweepResult, Killer]:
    """The sweep on two nodes, one of which is killed in the middle."""
    import ray
    from ray.cluster_utils import Cluster

    cells = cells_of(spec)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    killer, all_done = Killer(cluster), threading.Event()
    thread = threading.Thread(target=killer.kill, args=(all_done,))
    thread.start()
    try:
        done = recorded(cells, output)
        engine = RayEngine(spec, output)
        return work_through(cells, engine, output, done, ended=killer.told), killer
    finally:
        all_done.set()
        thread.join()
        ray.shutdown()
        cluster.shutdown()


def here(spec: SweepSpec, output: Path) -> SweepResult:
    """The sweep by the local engine."""
    cells = cells_of(spec)
    engine: Engine = LocalEngine(spec, output)
    return work_through(cells, engine, output, recorded(cells, output))


def facts(attempt: Attempt, output: Path) -> dict[str, Any]:
    """What must be equal of a record: all but times, places and machines."""
    if attempt.verdict != "done":
        return {"verdict": attempt.verdict, "reason": attempt.reason}
    record = load_record(output / attempt.record).model_dump(mode="json")
    names = ("tokenizer", "variant", "task", "identity", "definitions", "metrics", "status")
    return {name: record[name] for name in names} | {"code": record["environment"]["code_version"]}


def compare(found: SweepResult, wanted: SweepResult, folder: Path) -> list[str]:
    """A word for each cell: `equal`, or what differs."""
    words = []
    for one, other in zip(found.attempts, wanted.attempts, strict=True):
        ours, theirs = facts(one, folder / "ray"), facts(other, folder / "local")
        names = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
        words.append(", ".join(names) or ("equal" if one.verdict == "done" else one.verdict))
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, print the table; the exit code."""
    parser = argparse.ArgumentParser(description="A sweep on Ray against here.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tokenizer", action="append", help="default: seven @tiny")
    parser.add_argument("--task", action="append", choices=TASKS, help="default: all four")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    spec = SweepSpec(
        tuple(map(TokenizerTerms, asked.tokenizer or (f"{n}@tiny" for n in TOKENIZERS))),
        tuple(TASKS[name] for name in asked.task or TASKS),
        devices=("cpu",),
        retries=2,
    )
    folder = asked.output.absolute()
    os.environ["MEDBENCH_CACHE"] = str(folder / "cache-ray")
    found, killer = on_ray(spec, folder / "ray")
    os.environ["MEDBENCH_CACHE"] = str(folder / "cache-local")
    wanted = here(spec, folder / "local")
    words = compare(found, wanted, folder)
    rows = [
        (cell.title, one.tries, f"{one.seconds:.0f}", f"{other.seconds:.0f}", word)
        for cell, one, other, word in zip(
            found.cells, found.attempts, wanted.attempts, words, strict=True
        )
    ]
    equal = words.count("equal")
    records = len(list(record_files(folder / "ray")))
    twice = len(killer.ended) - len(set(killer.ended))
    print(tabulate(rows, headers=["cell", "tries", "s on Ray", "s here", "record"]))
    print(f"killed node: {killer.node or 'none, all cells were done before'}")
    print(f"{len(rows)} cells, {records} records, {twice} cells twice, {equal} equal")
    return 0 if equal == records == len(rows) and not twice else 1


if __name__ == "__main__":
    sys.exit(main())
