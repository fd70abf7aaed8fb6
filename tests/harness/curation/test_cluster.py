"""Curation on a Ray cluster of several nodes on one machine, of which one is killed."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from medbench.harness.cluster import Cluster
from medbench.harness.errors import UsageError


@pytest.mark.slow
def test_a_killed_node_changes_no_file(cluster, tmp_path, curate, save_nifti, rng, files_of):
    for number in range(16):
        values = rng.integers(-1000, 1000, (130, 130, 40), dtype=np.int16)
        save_nifti(tmp_path / "volumes" / f"{number:02d}.nii", values)
    volumes = f"nifti@ct:{tmp_path}/volumes"
    journal = tmp_path / "ray" / ".curation" / "journal"
    lost: list[int] = []

    def kill() -> None:
        while not (finished := list(journal.glob("*.json"))):
            time.sleep(0.01)
        lost.append(len(finished))
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    found = curate(volumes, out=tmp_path / "ray", cluster=Cluster())
    killer.join()
    assert lost[0] < 16, "the node died in the middle"
    alone = curate(volumes, out=tmp_path / "alone")
    assert found == alone
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "alone")


@pytest.mark.slow
def test_what_a_part_finds_wrong_is_said_as_on_one_machine(cluster):
    def fail(number):
        message = f"number {number} is wrong"
        raise UsageError(message)

    (end,) = Cluster().each(fail, [{"number": 3}], retries=1, resources={"num_cpus": 1})
    assert isinstance(end.problem, UsageError)
    assert str(end.problem) == "number 3 is wrong"
