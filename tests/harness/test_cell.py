"""What several processes, kills and --force leave of a cell."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from medbench.baselines.bounds import MeanColour
from medbench.harness import cell, ranks
from medbench.harness.cell import CellJob
from medbench.harness.errors import CellFailed, UsageError
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


def test_only_the_first_rank_writes_what_a_cell_is_and_its_rows(measure, monkeypatch):
    """Whoever is not the first takes its answer from `ranks.first`, and runs nothing there."""
    first, asked, written = ranks.first, [], []
    write_json, writer = cell.write_json, cell.atomic_writer

    def noted(work):
        asked.append(True)
        found = first(work)
        asked.pop()
        return found

    def written_within(name, write):
        return lambda path, *rest: written.append((name, bool(asked))) or write(path, *rest)

    monkeypatch.setattr(ranks, "first", noted)
    monkeypatch.setattr(cell, "write_json", written_within("cell", write_json))
    monkeypatch.setattr(cell, "atomic_writer", written_within("rows", writer))
    measure()
    assert written == [("cell", True), ("rows", True)]


def test_a_lack_of_memory_in_what_measures_is_told_with_advice(measure, monkeypatch):
    def extract(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("medbench.tasks.recon.measure.extract", extract)
    with pytest.raises(CellFailed, match="what measures the images.*use another --device"):
        measure()


def test_a_tokenizer_begins_with_the_size_that_fitted_it_before(measure, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    encode = MeanColour.encode

    def small(self, images):
        if len(images) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return encode(self, images)

    monkeypatch.setattr(MeanColour, "encode", small)
    assert measure().record.timing.batch_size == 2
    monkeypatch.setattr(MeanColour, "encode", encode)
    assert measure(force=True).record.timing.batch_size == 2
    assert measure(force=True, precision="bf16").record.timing.batch_size == 8
