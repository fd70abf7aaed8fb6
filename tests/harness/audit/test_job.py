from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medbench.harness.audit.job import Request, run_audit
from medbench.harness.audit.memory import memory_path
from medbench.harness.datasets import medsynth
from medbench.harness.datasets.images import decode_file
from medbench.harness.errors import MissingPrerequisite, UsageError

KINDS = ("jpeg60", "jpeg90", "half", "double", "brighter", "darker")


def audit(*paths, **options):
    return run_audit(Request(tuple(str(path) for path in paths), **options)).findings


def linked(findings):
    return {(pair.first.id, pair.second.id) for pair in findings.pairs}


@pytest.mark.parametrize("kind", KINDS)
def test_planted_copies_of_every_modality_are_found_and_nothing_else(
    tmp_path, picture, copies, save, kind
):
    for modality in medsynth.MODALITIES:
        for index in range(2):
            save(tmp_path / "one" / f"{modality}{index}.png", picture(modality, index))
        save(tmp_path / "two" / f"{modality}0.png", copies[kind](picture(modality, 0)))
    findings = audit(tmp_path / "one", tmp_path / "two")
    assert linked(findings) == {(f"{m}0.png", f"{m}0.png") for m in medsynth.MODALITIES}
    assert {pair.kind for pair in findings.pairs} == {"near"}
    assert {pair.relation for pair in findings.pairs} == {"across data sets"}


def test_equal_pixels_in_other_files_are_exact(tmp_path, picture, save):
    rgb = picture("ct", 0)
    save(tmp_path / "set" / "a.png", rgb)
    Image.fromarray(rgb[:, :, 0]).save(tmp_path / "set" / "b.tif")  # grey, another format
    (pair,) = audit(tmp_path / "set").pairs
    assert (pair.kind, pair.relation, pair.correlation) == ("exact", "within a split", None)


def test_directories_name_the_splits(tmp_path, picture, copies, save):
    save(tmp_path / "set" / "training" / "a.png", picture("xray", 0))
    save(tmp_path / "set" / "test" / "b.png", copies["jpeg60"](picture("xray", 0)))
    findings = audit(tmp_path / "set")
    (pair,) = findings.pairs
    assert pair.relation == "across splits"
    assert {part.split for part in findings.parts} == {"train", "test"}
    assert findings.contaminated


def test_split_folders_named_one_by_one_are_splits_of_one_set(tmp_path, picture, save):
    for split in ("train", "test"):
        save(tmp_path / split / "a.png", picture("xray", 0))
    (pair,) = audit(tmp_path / "train", tmp_path / "test").pairs
    assert pair.relation == "across splits"


def test_an_equal_copy_of_a_near_copy_is_told_for_every_place(tmp_path, picture, copies, save):
    near = copies["half"](picture("mri", 0))
    save(tmp_path / "set" / "train" / "a.png", picture("mri", 0))
    save(tmp_path / "set" / "val" / "b.png", near)
    save(tmp_path / "set" / "test" / "c.png", near)
    findings = audit(tmp_path / "set")
    assert {(p.first.split, p.second.split, p.kind) for p in findings.pairs} == {
        ("test", "train", "near"),
        ("train", "val", "near"),
        ("test", "val", "exact"),
    }


def test_flat_pictures_are_named_and_only_equal_ones_paired(tmp_path, save):
    for level in range(12):
        save(tmp_path / "set" / f"{level:02d}.png", np.full((64, 64, 3), level, np.uint8))
    save(tmp_path / "set" / "copy.png", np.zeros((64, 64, 3), np.uint8))
    findings = audit(tmp_path / "set")
    assert linked(findings) == {("00.png", "copy.png")}
    assert len(findings.flat) == 13
    assert findings.candidates == 0


def test_unreadable_images_are_named_and_the_others_compared(tmp_path, picture, save):
    save(tmp_path / "set" / "a.png", picture("ct", 1))
    save(tmp_path / "set" / "b.png", picture("ct", 1))
    (tmp_path / "set" / "broken.png").write_bytes(b"no image")
    findings = audit(tmp_path / "set")
    (broken,) = findings.unreadable
    assert broken.id == "broken.png"
    assert "not an image file" in broken.reason
    assert len(findings.pairs) == 1


@pytest.fixture
def private(tmp_path, picture, copies, save):
    """A public set, and a private folder with one copy, a pair of its own and a broken file."""
    save(tmp_path / "public" / "a.png", picture("dermoscopy", 0))
    secret = tmp_path / "private"
    save(secret / "jane_doe.png", copies["jpeg60"](picture("dermoscopy", 0)))
    save(secret / "mary_major.png", picture("ct", 0))
    save(secret / "mary_major_again.png", picture("ct", 0))
    (secret / "john_roe.png").write_bytes(b"no image")
    return tmp_path


def test_a_private_folder_is_compared_and_neither_named_nor_kept(private, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(private / "cache"))
    before = {path: path.read_bytes() for path in (private / "private").iterdir()}
    findings = audit(private / "public", against=(str(private / "private"),))
    (pair,) = findings.pairs
    assert (pair.second.id, pair.relation) == ("#1", "with the private collection")
    written = b"".join(p.read_bytes() for p in (private / "cache").rglob("*") if p.is_file())
    text = json.dumps(findings.as_json()).encode()
    for name in (b"jane_doe", b"john_roe", b"mary_major", str(private / "private").encode()):
        assert name not in written
        assert name not in text
    assert b"public" in written  # the public side is remembered
    assert {path: path.read_bytes() for path in (private / "private").iterdir()} == before


def test_private_files_are_named_when_asked(private):
    findings = audit(private / "public", against=(str(private / "private"),), show_private=True)
    assert findings.pairs[0].second.id == "jane_doe.png"
    assert findings.pairs[0].second.sha256 is None
    assert "john_roe.png" in findings.unreadable[0].reason


def test_a_private_reader_that_may_cache_is_refused(private):
    with pytest.raises(UsageError, match="may keep unpacked images"):
        audit(private / "public", against=("medsynth",))


def test_datasets_and_their_copies_in_a_folder_are_compared(tmp_path, picture, copies, save):
    save(tmp_path / "mine" / "x.png", copies["jpeg90"](picture("ct", 0)))
    findings = audit("medsynth@val", tmp_path / "mine", limit=1)
    (pair,) = findings.pairs
    assert (pair.first.dataset, pair.first.split, pair.first.id) == (
        "medsynth",
        "val",
        "val/ct/00000",
    )


def table(folder, rows, name="table.csv"):
    lines = ["path,modality,patient,split", *rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"manifest:{folder / name}"


def test_a_patient_in_two_splits_is_found(tmp_path, picture, save):
    for index in range(3):
        save(tmp_path / f"{index}.png", picture("mri", index))
    rows = ["0.png,mri,p1,train", "1.png,mri,p1,test", "2.png,mri,p2,test"]
    findings = audit(table(tmp_path, rows))
    (overlap,) = findings.patients
    assert (overlap.patient, overlap.images) == ("p1", {"test": 1, "train": 1})
    assert findings.contaminated
    assert not findings.pairs


def test_patient_names_of_two_data_sets_are_not_compared(tmp_path, picture, save):
    for index in range(2):
        save(tmp_path / f"{index}.png", picture("mri", index))
    one = table(tmp_path, ["0.png,mri,p1,train"], "one.csv")
    two = table(tmp_path, ["1.png,mri,p1,test"], "two.csv")
    assert not audit(one, two).patients


def test_signatures_are_remembered_by_content(tmp_path, picture, save, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    for index in range(2):
        save(tmp_path / "set" / f"{index}.png", picture("ct", index))
    audit(tmp_path / "set")
    assert memory_path().is_file()
    read = []

    def watched(path, **options):
        read.append(path.name)
        return decode_file(path, **options)

    monkeypatch.setattr("medbench.harness.audit.sources.decode_file", watched)
    save(tmp_path / "set" / "1.png", picture("ct", 2))
    findings = audit(tmp_path / "set")
    assert read == ["1.png"]
    assert findings.contents == 2


def test_a_damaged_memory_is_made_again(tmp_path, picture, save, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    memory_path().parent.mkdir(parents=True)
    memory_path().write_bytes(b"not a database" * 100)
    save(tmp_path / "set" / "a.png", picture("ct", 0))
    assert audit(tmp_path / "set").contents == 1


@pytest.mark.parametrize("second", ["set", "set/inner"])
def test_sources_with_the_same_files_are_refused(tmp_path, picture, save, second):
    save(tmp_path / "set" / "inner" / "a.png", picture("ct", 0))
    with pytest.raises(UsageError, match="hold the same files"):
        audit(tmp_path / "set", tmp_path / second)


def test_a_missing_path_says_where_it_looked(tmp_path):
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        audit(tmp_path / "nowhere")


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        audit(tmp_path)


def test_real_photographs_give_no_false_alarm_and_copies_of_them_are_found(
    real_data, tmp_path, copies, save
):
    files = sorted((real_data / "recon").rglob("*.png"))
    for position, path in enumerate(files[::6]):
        kind = KINDS[position % len(KINDS)]
        save(tmp_path / path.relative_to(real_data), copies[kind](decode_file(path).rgb))
    findings = audit(real_data / "recon", tmp_path / "recon")
    assert linked(findings) == {
        (name := p.relative_to(real_data / "recon").as_posix(), name) for p in files[::6]
    }
