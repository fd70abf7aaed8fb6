"""What several processes, kills and --force leave of a cell."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from medbench.harness.cell import CellJob
from medbench.harness.errors import UsageError
from medbench.harness.record_files import load_record
from medbench.harness.request import Request
from medbench.harness.runner import execute


@pytest.fixture
def measure(image_folder, tmp_path):
    def run(**options):
        request = Request(
            tokenizers=["mean"],
            tasks=["recon"],
            dataset=f"folder:{image_folder}",
            output=tmp_path / "results",
            **options,
        )
        (cell,) = execute(request).cells
        if cell.error is not None:
            raise cell.error
        return cell

    return run


def test_seed_that_no_library_takes_is_refused():
    for seed in (-1, 1 << 32):
        with pytest.raises(UsageError, match=f"--seed is {seed}"):
            Request(tokenizers=["mean"], seed=seed)


def test_of_two_at_once_one_measures_and_the_other_is_answered(measure, monkeypatch):
    measured, cells = [], []
    work = CellJob._measure
    monkeypatch.setattr(CellJob, "_measure", lambda job: measured.append(job) or work(job))
    threads = [threading.Thread(target=lambda: cells.append(measure())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(measured) == 1
    assert sorted(cell.cached for cell in cells) == [False, True]
    assert cells[0].record == cells[1].record


def test_what_killed_runs_began_is_removed_with_the_record(measure):
    path: Path = measure().path
    left = [path.with_name(f".{path.stem}.{kind}.x1.part") for kind in ("parquet", "json")]
    other = path.with_name(".ffffffff.json.x1.part")
    for each in (*left, other):
        each.write_bytes(b"half")
    measure(force=True)
    assert not any(each.exists() for each in left)
    assert other.exists(), "of another cell, perhaps at work"


def test_a_replaced_record_stays_in_its_place_until_the_new_one_is_there(measure, monkeypatch):
    path: Path = measure().path
    before = load_record(path)
    found = []

    def look(*_):
        found.append(load_record(path))
        raise KeyboardInterrupt

    monkeypatch.setattr("medbench.harness.cell.write_record", look)
    with pytest.raises(KeyboardInterrupt):
        measure(force=True)
    assert found == [before]
    assert load_record(path.with_suffix(".json.replaced")) == before
