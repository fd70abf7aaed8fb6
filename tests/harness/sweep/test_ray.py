"""A sweep on a Ray cluster of several nodes on one machine, of which one is killed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from medbench.harness.record_files import load_record, record_files
from medbench.harness.sweep.cells import cells_of
from medbench.harness.sweep.engines import LocalEngine, RayEngine
from medbench.harness.sweep.spec import SweepSpec, TaskTerms
from medbench.harness.sweep.sweep import work_through

pytestmark = pytest.mark.slow

SPEC = SweepSpec(
    ("mean", "down8", "down16", "webp@24576"),
    (TaskTerms("recon", ("sample",)), TaskTerms("recon", ("medsynth",), limit=2)),
    retries=2,
)


def _values(results) -> dict:
    records = [load_record(path) for path in record_files(results)]
    return {
        (r.full_name, r.dataset.id, m.name, m.group, m.setting): m.value
        for r in records
        for m in r.metrics
    }


def test_a_killed_node_costs_no_cell_and_doubles_none(cluster, tmp_path):
    cells = cells_of(replace(SPEC, devices=("cpu",)))
    ended: list[str] = []
    lost = next(iter(cluster.worker_nodes))

    def kill() -> None:
        while not ended:
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    engine = RayEngine(replace(SPEC, devices=("cpu",)), tmp_path / "ray")
    swept = work_through(
        cells, engine, tmp_path / "ray", ended=lambda cell, _: ended.append(cell.key)
    )
    killer.join()
    assert not swept.unfinished, swept.unfinished
    assert sorted(ended) == sorted(cell.key for cell in cells)
    assert len(list(record_files(tmp_path / "ray"))) == len(cells)

    local = LocalEngine(replace(SPEC, devices=("cpu",)), tmp_path / "local")
    work_through(cells, local, tmp_path / "local")
    assert _values(tmp_path / "ray") == _values(tmp_path / "local")
