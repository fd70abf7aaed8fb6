from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.jsonl import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError

ROWS = [
    {"identifier": "ct/0.png", "modality": "ct", "caption": "A scan", "label": 3, "split": "test"},
    {"identifier": "ct/1.png", "modality": "mr", "split": "train"},
    {"identifier": "fundus/0.png", "modality": "fundus photography", "split": "test"},
]


def write(folder, text):
    path = folder / "list.jsonl"
    path.write_text(text)
    return path


def make(path, variant=""):
    return build("jsonl:x", argument=str(path), variant=variant)


def lines(rows):
    return "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize("form", [lines, json.dumps])
def test_lines_and_a_list_give_the_same_items(image_folder, form):
    items = make(write(image_folder, form(ROWS))).items()
    assert [item.group for item in items] == ["ct", "mri", "fundus"]
    assert (items[0].caption, items[0].label) == ("A scan", "3")
    assert items[0].load().rgb.shape == (200, 200, 3)


def test_a_split_selects_its_lines(image_folder):
    dataset = make(write(image_folder, lines(ROWS)), "test")
    assert [item.id for item in dataset.items()] == ["ct/0.png", "fundus/0.png"]
    with pytest.raises(UsageError, match="no row has split 'val'; found: test, train"):
        make(dataset.table, "val")


def test_a_bias_alone_shows_ct_from_minus_1000_to_1000_hounsfield_units(image_folder):
    stored = np.array([-1000, 0, 500, 1000]).repeat(16).reshape(8, 8) + 1024
    Image.fromarray(stored.astype(np.uint16)).save(image_folder / "deep.png")
    row = {"identifier": "deep.png", "modality": "ct", "ct_bias": 1024}
    rgb = make(write(image_folder, lines([row]))).items()[0].load().rgb
    assert np.unique(rgb).tolist() == [0, 128, 191, 255]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{broken", "row 2: not valid JSON"),
        ("[1]", "row 2: an object is expected, found list"),
        ('{"modality": "ct"}', "row 2: path .or identifier. and modality"),
        ('{"identifier": "../a.png", "modality": "ct"}', "row 2: path '../a.png' leaves"),
        ('{"identifier": "a.png", "modality": "ct", "label": {}}', "row 2: label is {}"),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_kept(image_folder, bad, reason):
    text = "\n".join([json.dumps(ROWS[0]), bad, json.dumps(ROWS[2])])
    store = ingest(make(write(image_folder, text)))
    assert [row.id for row in store.rows] == ["ct/0.png", "fundus/0.png"]
    with pytest.raises(UsageError, match=reason):
        raise UsageError(store.failures[0].reason)


def test_a_list_that_is_cut_keeps_what_is_before(image_folder):
    store = ingest(make(write(image_folder, json.dumps(ROWS)[:-30])))
    assert [row.id for row in store.rows] == ["ct/0.png", "ct/1.png"]
    assert "line 1: not valid JSON" in store.failures[0].reason


@pytest.mark.parametrize(("text", "message"), [("", "no rows"), ("x\n", "none of the 1 rows")])
def test_a_file_without_a_usable_line_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        make(write(tmp_path, text))
