"""What cells on a Ray cluster are given; test_ray.py has a real cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from medbench.harness.cluster import TaskEnd
from medbench.harness.sweep import engines
from medbench.harness.sweep.attempt import Attempt, attempt
from medbench.harness.sweep.board import Board
from medbench.harness.sweep.cells import SweepCell, cells_of
from medbench.harness.sweep.engines import RayEngine
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms
from medbench.harness.sweep.state import SweepState


def _spec(dataset: str = "sample", **terms) -> SweepSpec:
    return SweepSpec((TokenizerTerms("mean"),), (TaskTerms("recon", (dataset,), limit=1),), **terms)


class Calls:
    """In the place of a cluster: notes what it is asked."""

    gpus = 0.0

    def __init__(self, address=None) -> None:
        self.resources = {}

    def each(self, work, arguments, *, retries, resources):
        del work, retries
        self.arguments, self.resources = arguments, resources
        yield from ()


class Worker(Calls):
    """In the place of a cluster whose cells begin at once and end when they are seen."""

    def each(self, work, arguments, *, retries, resources):
        del work, retries, resources
        for place, call in enumerate(arguments):
            call["log"].parent.mkdir(parents=True, exist_ok=True)
            with call["log"].open("a") as log:
                log.write("# try 1\n")
            deadline = time.monotonic() + 30
            while call["cell"] not in self.seen and time.monotonic() < deadline:
                time.sleep(0.01)
            yield TaskEnd(place, Attempt(call["cell"].key, "done", 1.0, 1), None)


@pytest.mark.parametrize(
    ("devices", "gpus", "resources", "device"),
    [
        (("auto",), 0.0, {"num_cpus": 8}, "auto"),
        (("auto",), 4.0, {"num_cpus": 8, "num_gpus": 0.5}, "auto"),
        (("cuda",), 4.0, {"num_cpus": 8, "num_gpus": 0.5}, "auto"),
        (("cpu",), 4.0, {"num_cpus": 8}, "cpu"),
    ],
)
def test_ray_is_asked_for_all_threads_and_for_the_gpus_there_are(
    tmp_path, monkeypatch, devices, gpus, resources, device
):
    monkeypatch.setattr(engines, "Cluster", Calls)
    monkeypatch.setattr(Calls, "gpus", gpus)
    engine = RayEngine(_spec(devices=devices, threads=8, at_a_time=2), tmp_path)
    list(engine.run(cells_of(_spec()), lambda _: None))
    assert engine._cluster.resources == resources
    assert {call["device"] for call in engine._cluster.arguments} == {device}


def test_ray_tells_of_cells_as_they_begin_and_not_of_old_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "Cluster", Worker)
    first, second = cells_of(_spec()) + cells_of(_spec("medsynth"))
    engine = RayEngine(_spec(), tmp_path)
    old = SweepState(tmp_path).log(second.key)
    old.parent.mkdir(parents=True)
    old.write_text("# try 1\n")
    seen = engine._cluster.seen = []
    board = Board([first, second], done=0)
    ends = engine.run([first, second], lambda cell: (seen.append(cell), board.started(cell)))
    next(ends)
    assert seen == [first]
    assert list(board._running) == [first.key]
    next(ends)
    assert seen == [first, second]
    ends.close()


def test_a_beginning_that_is_told_after_the_end_leaves_nothing_running():
    (cell,) = cells_of(_spec())
    board = Board([cell], done=0)
    board.ended(cell, Attempt(cell.key, "done", 1.0, 1))
    board.started(cell)
    assert not board._running


def test_ray_cells_see_the_callers_places(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "Cluster", Calls)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_CACHE", "own-cache")
    monkeypatch.setenv("HF_HOME", "own-hub")
    engine = RayEngine(_spec(), Path("results"))
    list(engine.run(cells_of(_spec()), lambda _: None))
    (call,) = engine._cluster.arguments
    for name in ("MEDBENCH_CACHE", "HF_HOME"):  # as on a worker, whose folder is another one, too
        monkeypatch.delenv(name)
    monkeypatch.chdir("/")
    names = "'MEDBENCH_CACHE', 'HF_HOME', 'OMP_NUM_THREADS'"
    script = (
        f"import os; print(os.getcwd(), *map(os.environ.get, ({names},)), file=open('it', 'w'))"
    )
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(SweepCell, "command", lambda *_, **__: command)
    attempt(**call)
    assert (tmp_path / "it").read_text().split() == [str(tmp_path), "own-cache", "own-hub", "1"]
    assert call["terms"].output == tmp_path / "results"
