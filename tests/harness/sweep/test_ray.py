"""A sweep on a Ray cluster of several nodes on one machine, of which one is killed.

`benchmarks/ray_sweep.py` is the long way: seven tokenizers on four tasks.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from medbench.harness.record_files import load_record, record_files
from medbench.harness.sweep.cells import cells_of
from medbench.harness.sweep.engines import LocalEngine, RayEngine
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms
from medbench.harness.sweep.sweep import work_through

pytestmark = pytest.mark.slow

SPEC = SweepSpec(
    tuple(map(TokenizerTerms, ("mean", "down8", "down16", "webp@24576"))),
    (TaskTerms("recon", ("sample",)), TaskTerms("recon", ("folder:images",), limit=2)),
    devices=("cpu",),
    retries=2,
)


def _facts(results) -> dict:
    """Identities, and metrics with their intervals, counts and definitions."""
    records = [load_record(path).model_dump(mode="json") for path in record_files(results)]
    return {
        (r["tokenizer"], r["variant"], r["dataset"]["id"]): (
            *(r["identity"], r["definitions"], r["metrics"], r["status"]),
        )
        for r in records
    }


def test_a_killed_node_costs_no_cell_and_doubles_none(cluster, tmp_path, image_folder, monkeypatch):
    # The nodes were started elsewhere: the data lie where the caller is.
    monkeypatch.chdir(image_folder.parent)
    cells = cells_of(SPEC)
    ended: list[str] = []
    lost = next(iter(cluster.worker_nodes))

    def kill() -> None:
        while not ended:
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    engine = RayEngine(SPEC, tmp_path / "ray")
    swept = work_through(
        cells, engine, tmp_path / "ray", {}, ended=lambda cell, _: ended.append(cell.key)
    )
    killer.join()
    assert not swept.unfinished, swept.unfinished
    assert sorted(ended) == sorted(cell.key for cell in cells)
    assert len(list(record_files(tmp_path / "ray"))) == len(cells)

    work_through(cells, LocalEngine(SPEC, tmp_path / "local"), tmp_path / "local", {})
    assert _facts(tmp_path / "ray") == _facts(tmp_path / "local")


def test_a_stop_ends_the_cells_on_all_nodes(cluster, factory, tmp_path, monkeypatch):
    note = tmp_path / "started"
    factory(f"import os, time; print(os.getpid(), file=open({str(note)!r}, 'a')); time.sleep(600)")
    monkeypatch.chdir(tmp_path)  # where the cells find the factory
    # A shell starts what it has in the background without SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = (TaskTerms("recon", ("sample",), limit=1), TaskTerms("recon", ("sample",), limit=2))
    spec = replace(SPEC, tokenizers=(TokenizerTerms("odd:build"),), tasks=tasks)

    def stop() -> None:
        while not note.exists() or note.read_text().count("\n") < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        work_through(cells_of(spec), RayEngine(spec, tmp_path / "ray"), tmp_path / "ray", {})
    stopper.join()
    signal.signal(signal.SIGINT, before)
    for each in map(int, note.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)
