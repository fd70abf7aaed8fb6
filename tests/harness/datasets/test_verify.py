"""`available` and `verify` on folders with planted faults; the cards are those that ship."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness import registry
from medbench.harness.datasets import available
from medbench.harness.datasets import verify as verify_module
from medbench.harness.datasets.available import Chosen, choose, downloads_of, known_cards, presence
from medbench.harness.datasets.card import Download, packaged_card
from medbench.harness.datasets.medmnist_sets import NAMES
from medbench.harness.datasets.verify import verify
from medbench.harness.errors import UsageError
from medbench.harness.registry import Plugin

CHASE = packaged_card("chase")
"""28 fundus photographs, `Image_01L.jpg` and so on; masks beside them are not read."""


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """A data root with all of CHASE."""
    for number in range(14):
        for side, eye in enumerate("LR"):
            picture(tmp_path / "chase" / f"Image_{number + 1:02d}{eye}.jpg", 2 * number + side)
    picture(tmp_path / "chase" / "Image_01L_1stHO.png", 99)
    return tmp_path


def texts(verdict, level: str) -> str:
    return "\n".join(f.text for f in verdict.findings if f.level == level)


def test_every_card_is_known_and_medmnist_too():
    cards = known_cards()
    assert set(NAMES) <= set(cards)
    assert {"medsynth", "sample", "chase"} <= set(cards)
    assert all(name == card.id for name, card in cards.items())
    for name in NAMES:
        assert len({each.md5 for each in cards[name].downloads}) == 4


def test_presence_counts_what_the_card_takes(root):
    seen = presence(CHASE, root)
    assert (seen.state, seen.files, seen.place) == ("found", 28, root / "chase")
    (root / "chase" / "Image_07R.jpg").unlink()
    seen = presence(CHASE, root)
    assert (seen.state, seen.detail) == ("partly", "27 of 28 images")
    assert presence(CHASE, root / "chase").state == "not here"
    assert presence(CHASE, None).detail == "MEDBENCH_DATA is not set"
    assert presence(packaged_card("sample"), None).state == "embedded"


def test_an_unpacked_folder_of_something_else_is_not_the_set(tmp_path):
    picture(tmp_path / "chase" / "holiday.png", 0)
    seen = presence(CHASE, tmp_path)
    assert (seen.state, seen.files) == ("partly", 0)
    assert verify(Chosen(CHASE), tmp_path).state == "wrong"


def test_a_large_folder_is_counted_in_part(root, monkeypatch):
    monkeypatch.setattr(available, "_LOOKED_AT", 10)
    seen = presence(CHASE, root)
    assert seen.state == "found"
    assert not seen.counted
    assert seen.detail.startswith("at least ")


def test_a_complete_set_is_ok(root):
    verdict = verify(Chosen(CHASE), root, deep=True)
    assert (verdict.state, verdict.images, verdict.unreadable) == ("ok", 28, ())


def test_a_missing_image_is_wrong_with_both_numbers(root):
    (root / "chase" / "Image_07R.jpg").unlink()
    verdict = verify(Chosen(CHASE), root)
    assert verdict.state == "wrong"
    assert "27 of 28" in texts(verdict, "wrong")


def test_a_damaged_image_is_found_by_the_deep_look_only(root):
    damaged = root / "chase" / "Image_03L.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    assert verify(Chosen(CHASE), root).state == "ok"
    verdict = verify(Chosen(CHASE), root, deep=True)
    assert verdict.state == "wrong"
    (reason,) = verdict.unreadable
    assert str(damaged) in reason


def test_a_count_that_only_a_paper_prints_is_a_note(tmp_path):
    card = CHASE.model_copy(update={"splits": {}})
    picture(tmp_path / "chase" / "Image_01L.jpg", 0)
    verdict = verify(Chosen(card), tmp_path)
    assert verdict.state == "ok"
    assert "found 1 " in texts(verdict, "note")


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_archives_are_held_against_their_checksums(root, wrong):
    content = b"an archive"
    (root / "chase" / "CHASE.zip").write_bytes(content + b"!" * wrong)
    md5 = hashlib.md5(content).hexdigest()
    source = Download(url="https://example.org/x", filename="CHASE.zip", md5=md5)
    verdict = verify(Chosen(CHASE.model_copy(update={"downloads": [source]})), root)
    assert verdict.state == ("wrong" if wrong else "ok")
    assert ("its md5 is" if wrong else "checksum right") in texts(
        verdict, "wrong" if wrong else "found"
    )


def test_a_set_that_is_not_here_is_missing_and_says_where_it_was_looked_for(tmp_path):
    verdict = verify(Chosen(CHASE), tmp_path)
    assert verdict.state == "missing"
    assert "folder chase" in texts(verdict, "missing")


def npz(path: Path, counts: dict[str, int], *, damaged_label: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in counts.items():
        arrays[f"{split}_images"] = rng.integers(1, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (count, 1)).astype(np.uint8)
    if damaged_label:
        arrays["val_labels"][3] = 7
    np.savez_compressed(path, **arrays)


BREAST = {"train": 546, "val": 78, "test": 156}


def test_a_modified_medmnist_file_is_wrong_unless_allowed(tmp_path, monkeypatch):
    npz(tmp_path / "medmnist" / "breastmnist.npz", BREAST, damaged_label=True)
    assert presence(known_cards()["breastmnist"], tmp_path).detail == "sizes 28"
    verdict = verify(choose("breastmnist"), tmp_path)
    assert verdict.state == "wrong"
    assert texts(verdict, "wrong").count("is not the official file") == 1
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    verdict = verify(choose("breastmnist@28"), tmp_path)
    assert (verdict.state, verdict.images) == ("ok", sum(BREAST.values()))
    (reason,) = verify(choose("breastmnist"), tmp_path, deep=True).unreadable
    assert "val row 3: label [7]" in reason


def test_a_size_that_is_not_here_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    npz(tmp_path / "medmnist" / "breastmnist.npz", BREAST)
    assert verify(choose("breastmnist@224"), tmp_path).state == "missing"


def test_embedded_sets_open(tmp_path):
    verdict = verify(choose("sample"), None, deep=True)
    assert (verdict.state, verdict.images) == ("ok", 20)


def test_a_card_of_facts_says_that_nothing_reads_it(tmp_path):
    (tmp_path / "cifar100").mkdir()
    (tmp_path / "cifar100" / "meta").write_text("x")
    verdict = verify(choose("cifar100"), tmp_path)
    assert verdict.state == "ok"
    assert "no reader" in texts(verdict, "note")


def slake_row(number: int, image: str) -> dict[str, object]:
    """The fields of one row of SLAKE's test.json that its reader takes."""
    return {
        "qid": number,
        "img_name": f"{image}/source.jpg",
        "question": "Is this a CT?",
        "answer": "Yes",
        "answer_type": "CLOSED",
        "q_lang": "en",
        "modality": "CT",
        "content_type": "Modality",
    }


@pytest.fixture
def slake(tmp_path, monkeypatch) -> Path:
    """A data root with two questions of SLAKE's test part, one of whose images is absent."""
    entry = Plugin("slake", "medbench.harness.datasets.slake:build")
    entries = {**registry.dataset_entries(), "slake": entry}
    for module in (registry, available, verify_module):
        monkeypatch.setattr(module, "dataset_entries", lambda: entries)
    folder = tmp_path / "slake" / "Slake1.0"
    picture(folder / "imgs" / "xmlab1" / "source.jpg", 0)
    rows = [slake_row(1, "xmlab1"), slake_row(2, "xmlab2")]
    (folder / "test.json").write_text(json.dumps(rows))
    return tmp_path


def test_a_question_set_is_found_where_its_reader_looks_and_told_part_by_part(slake, monkeypatch):
    card = packaged_card("slake")
    assert presence(card, slake).place == slake / "slake" / "Slake1.0"
    verdict = verify(choose("slake"), slake)
    assert verdict.state == "wrong"
    assert "test has 2 questions, the official file has 2,094" in texts(verdict, "wrong")
    assert "train.json" in texts(verdict, "missing")
    assert "How to get it" not in texts(verdict, "missing")
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    verdict = verify(choose("slake"), slake)
    assert verdict.state == "partly"
    assert texts(verdict, "found") == "slake@test: 2 images, 2 questions"
    assert "slake@test: found 1 of 2 images" in texts(verdict, "missing")
    assert "modified file" in texts(verdict, "note")
    verdict = verify(choose("slake@test-en"), slake, deep=True)
    assert (verdict.state, len(verdict.unreadable)) == ("wrong", 1)
    assert "xmlab2" in verdict.unreadable[0]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("chasee", "Did you mean: chase"),
        ("pathmnist@32", "known: pathmnist@28, pathmnist@64"),
        ("drive@validation", "known: drive@training, drive@test"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(reference, message):
    with pytest.raises(UsageError, match=message):
        choose(reference)


def test_a_medmnist_set_is_one_file_per_size():
    (source,) = downloads_of(choose("pathmnist@224"))
    assert source.filename == "pathmnist_224.npz"
    assert source.url.startswith("https://zenodo.org/")
    with pytest.raises(UsageError, match="say which: pathmnist@28"):
        downloads_of(choose("pathmnist"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(root):
    (root / "chase" / "Image_03L.jpg").chmod(0)
    verdict = verify(Chosen(CHASE), root, deep=True)
    assert "Image_03L.jpg" in verdict.unreadable[0]


def test_the_real_medmnist_files_are_recognised_as_modified(real_data):
    for name in ("breastmnist", "pneumoniamnist"):
        verdict = verify(choose(name), real_data)
        assert verdict.state == "wrong"
        assert "is not the official file" in verdict.findings[0].text
    assert verify_module.presence(known_cards()["chase"], real_data).state == "not here"
