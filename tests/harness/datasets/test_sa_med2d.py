from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.sa_med2d import build, read_mask
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError

GOOD = "images/ct_00--ACDC--case_1--x_0040.png"
MASKS = [f"masks/ct_00--ACDC--case_1--x_0040--0001_00{i}.png" for i in (0, 1)]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "SAMed2Dv1"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    Image.new("L", (20, 20), 90).save(folder / GOOD)
    for row, name in enumerate(MASKS):
        mask = np.zeros((20, 20), np.uint8)
        mask[row] = 255
        Image.fromarray(mask).save(folder / name)
    return folder


def make(root, listed):
    (root / "SAMed2D_v1.json").write_text(json.dumps(listed))
    return build("sa-med2d", argument="", data_root=root.parent)


def test_an_image_has_its_patient_and_the_union_of_its_masks(root):
    dataset = make(root, {GOOD: MASKS})
    item = dataset.items()[0]
    assert (item.group, item.patient) == ("ct", "ACDC--case_1")
    assert item.load_mask is not None
    assert item.load_mask().sum() == 40
    assert read_mask(dataset.images[0], MASKS[1]).sum() == 20


def test_names_tell_the_modality_and_pet_is_left_out(root):
    words = {"mr_t1": "mri", "x_ray": "xray", "fundus_photography": "fundus", "pet_00": None}
    listed = {f"images/{word}--S--c--x_1.png": [] for word in words}
    dataset = make(root, listed)
    assert [item.group for item in dataset.items()] == ["mri", "xray", "fundus"]
    assert dataset.card.known_problems[0] == "1 PET images are left out"


@pytest.mark.parametrize(
    ("name", "masks", "reason"),
    [
        ("../a--S--c--x_1.png", [], "leaves the folder"),
        ("images/oct_00--S--c--x_1.png", [], "of a known modality"),
        ("images/ct_00--S--c.png", [], "the name is not"),
        ("images/ct_00--S--c--x_1.png", "m", "expected a list"),
        ("images/ct_00--S--c--x_1.png", [], "cannot be read"),
    ],
)
def test_a_bad_row_is_named_and_the_good_one_kept(root, name, masks, reason):
    store = ingest(make(root, {GOOD: MASKS, name: masks}))
    assert [row.id for row in store.rows] == [GOOD]
    assert reason in store.failures[0].reason


def test_an_absent_or_damaged_list_is_explained(tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"SA-Med2D-16M\.zip"):
        build("sa-med2d", argument="", data_root=tmp_path)
    (tmp_path / "SAMed2D_v1.json").write_text('{"a": [')
    with pytest.raises(UsageError, match="not readable JSON"):
        build("sa-med2d", argument=str(tmp_path))
