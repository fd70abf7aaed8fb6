"""What cells on a Ray cluster are given; test_ray.py has a real cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medbench.harness.sweep import engines
from medbench.harness.sweep.attempt import attempt
from medbench.harness.sweep.cells import SweepCell, cells_of
from medbench.harness.sweep.engines import RayEngine
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms


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
