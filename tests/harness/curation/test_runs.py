"""A run can be killed, spread over processes and repeated; the result is the same files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets import webdataset
from medbench.harness.errors import UsageError
from medbench.harness.registry import load_dataset

SCRIPT = """
import sys
from pathlib import Path
from medbench.harness.curation.job import Job, run
from medbench.harness.curation.thresholds import packaged_thresholds
from medbench.harness.curation.unit import Settings
settings = Settings(rules="meditok", format=sys.argv[3], thresholds=packaged_thresholds())
run(Job((sys.argv[1],), Path(sys.argv[2]), settings))
"""


@pytest.fixture
def volumes(tmp_path, save_nifti, rng):
    """Twelve volumes of two kept CT slices each (the cross planes are too small)."""
    for number in range(12):
        values = rng.integers(-1000, 1000, (130, 130, 6), dtype=np.int16)
        save_nifti(tmp_path / "volumes" / f"{number:02d}.nii", values)
    return f"nifti@ct:{tmp_path}/volumes"


@pytest.mark.parametrize("output_format", ["folder", "wds"])
def test_a_killed_run_goes_on_to_the_same_files(tmp_path, curate, volumes, files_of, output_format):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, volumes, str(out), output_format]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    journal = out / ".curation" / "journal"
    deadline = time.monotonic() + 60
    while len(list(journal.glob("*.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {path.name: path.stat().st_mtime_ns for path in journal.glob("*.json")}
    assert 2 <= len(done) < 12
    assert not (out / "report.json").exists()
    leftover = out / ".left.png.abc.part"
    leftover.write_bytes(b"half")

    curate(volumes, out=out, format=output_format)
    curate(volumes, out=tmp_path / "whole", format=output_format)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_run_killed_before_its_first_file_had_a_name_goes_on(tmp_path, curate, volumes):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".curation.json.x1.part").write_text("{")
    curate(volumes, out=out)
    assert not list(out.glob(".*.part"))


def test_what_the_journal_holds_is_not_done_again(tmp_path, curate, volumes, monkeypatch):
    from medbench.harness.curation import parts

    real, calls = parts.do_part, []

    def fragile(part, *rest):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(part.name)
        real(part, *rest)

    monkeypatch.setattr(parts, "do_part", fragile)
    with pytest.raises(KeyboardInterrupt):
        curate(volumes)
    first = list(calls)
    calls.clear()
    monkeypatch.setattr(
        parts, "do_part", lambda part, *rest: (calls.append(part.name), real(part, *rest))
    )
    curate(volumes)
    assert len(first) == 5
    assert len(calls) == 7
    assert not set(first) & set(calls)


@pytest.mark.parametrize("output_format", ["folder", "wds"])
def test_the_result_does_not_depend_on_the_workers(
    tmp_path, curate, volumes, files_of, output_format
):
    curate(volumes, out=tmp_path / "one", workers=1, format=output_format)
    curate(volumes, out=tmp_path / "three", workers=3, format=output_format)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


def test_a_finished_run_is_answered_from_its_report(tmp_path, curate, volumes, files_of):
    first = curate(volumes)
    before = files_of(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert curate(volumes) == first
    assert files_of(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == stamps


def test_a_folder_of_another_run_is_refused(tmp_path, curate, volumes):
    curate(volumes)
    with pytest.raises(UsageError, match=r"other settings \(seed: 0 there, 1 asked\)"):
        curate(volumes, seed=1)
    with pytest.raises(UsageError, match="rules: 'meditok' there, 'sa-med2d' asked"):
        curate(volumes, rules="sa-med2d")


def test_changed_sources_are_noticed(tmp_path, curate, volumes, save_nifti):
    curate(volumes)
    save_nifti(tmp_path / "volumes" / "new.nii", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(UsageError, match="sources changed"):
        curate(volumes)


def test_a_folder_with_other_files_is_refused(tmp_path, curate, volumes):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        curate(volumes)


def test_an_output_inside_a_source_is_refused(tmp_path, curate, volumes):
    with pytest.raises(UsageError, match="lies in the source"):
        curate(volumes, out=tmp_path / "volumes" / "out")


def test_sheets_show_ten_kept_and_ten_rejected_by_source_and_reason(
    tmp_path, curate, texture, planted_images
):
    for number in range(15):
        (tmp_path / "set" / "ct").mkdir(parents=True, exist_ok=True)
        Image.fromarray(texture()).save(tmp_path / "set" / "ct" / f"good-{number}.png")
        Image.fromarray(planted_images["palette"]).save(tmp_path / "set" / "ct" / f"p-{number}.png")
    Image.fromarray(planted_images["minimum-side"]).save(tmp_path / "set" / "ct" / "small.png")
    curate(str(tmp_path / "set"))
    folder = tmp_path / "out" / "sheets" / "set"
    assert sorted(p.name for p in folder.iterdir()) == ["minimum-side.png", "palette.png"]

    def cells(name):
        sheet = np.asarray(Image.open(folder / name).convert("RGB")).astype(int)
        strips = np.split(sheet, 2)
        return [
            sum(
                np.abs(strip[20:, column : column + 100] - [40, 40, 48]).sum() > 0
                for column in range(0, 1000, 100)
            )
            for strip in strips
        ]

    assert cells("palette.png") == [10, 10]
    assert cells("minimum-side.png") == [10, 1]


def test_the_seed_changes_the_pick_on_the_sheets_and_nothing_else(
    tmp_path, curate, texture, files_of
):
    (tmp_path / "set" / "ct").mkdir(parents=True)
    for number in range(15):
        Image.fromarray(texture()).save(tmp_path / "set" / "ct" / f"{number}.png")
    for seed in (0, 1):
        curate(str(tmp_path / "set"), out=tmp_path / f"out{seed}", seed=seed)
    first, second = files_of(tmp_path / "out0"), files_of(tmp_path / "out1")
    assert {name for name in first if first[name] != second[name]} == {
        "curation.json",
        "sheets/set/kept.png",
    }


def test_shards_hold_image_and_facts_and_no_time_or_user(tmp_path, curate, volumes):
    curate(volumes, format="wds")
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "candidates.parquet",
        "curation.json",
        "index.parquet",
        "report.json",
        "shard-000000.tar",
        "sheets",
    ]
    with tarfile.open(out / "shard-000000.tar") as tar:
        members = tar.getmembers()
        assert [m.name for m in members[:4]] == [
            f"0000000{n}.{suffix}" for n in (0, 1) for suffix in ("png", "json")
        ]
        assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}
        assert len(members) == 2 * 24
        facts = json.load(tar.extractfile("00000000.json"))
        assert facts["id"] == "volumes/00.nii#axial/0"
        assert (facts["modality"], facts["bias"]) == ("ct", 1024)
        image = Image.open(io.BytesIO(tar.extractfile("00000000.png").read()))
        assert np.asarray(image).min() >= 24


def test_shards_load_with_the_same_values_as_the_folder(tmp_path, curate, volumes):
    for output_format in ("folder", "wds"):
        curate(volumes, out=tmp_path / output_format, format=output_format)
    manifest = load_dataset(f"manifest:{tmp_path}/folder/index.parquet").items()
    shards = webdataset.build("wds", argument=str(tmp_path / "wds")).items()
    assert len(manifest) == len(shards) == 24
    for one, other in zip(manifest, shards, strict=True):
        assert (one.group, one.patient) == (other.group, other.patient)
        np.testing.assert_array_equal(one.load().rgb, other.load().rgb)
