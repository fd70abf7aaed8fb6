from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.harness.datasets.manifest import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError


@pytest.fixture
def table(image_folder):
    rows = [
        {"path": "ct/0.png", "modality": "ct", "patient": "p1", "split": "train"},
        {"path": "ct/1.png", "modality": "ct", "patient": "p1", "split": "test"},
        {"path": "fundus/0.png", "modality": "fundus", "patient": "", "split": "test"},
    ]
    path = image_folder / "list.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def make(path, variant=""):
    return build(f"manifest:{path}", argument=str(path), variant=variant)


def test_csv_and_parquet_give_the_same_images(table):
    parquet = table.with_suffix(".parquet")
    pd.read_csv(table).to_parquet(parquet)
    assert ingest(make(table)).fingerprint == ingest(make(parquet)).fingerprint


def test_a_split_selects_its_rows(table):
    dataset = make(table, "test")
    assert [item.id for item in dataset.items()] == ["ct/1.png", "fundus/0.png"]
    assert dataset.split == "test"
    with pytest.raises(UsageError, match="no row has split 'val'; found: test, train"):
        make(table, "val")


def test_patients_are_kept_and_empty_cells_mean_unknown(table):
    assert [item.patient for item in make(table).items()] == ["p1", "p1", None]


def test_windows_apply_to_16_bit_images(table):
    values = np.full((64, 64), 1024 + 500, np.uint16)
    Image.fromarray(values).save(table.parent / "deep.png")
    row = {
        "path": "deep.png",
        "modality": "ct",
        "window_low": -1000,
        "window_high": 1000,
        "bias": 1024,
    }
    pd.DataFrame([row]).to_csv(table, index=False)
    assert np.unique(ingest(make(table)).images).tolist() == [191]


def test_masks_are_stored_beside_the_images(table):
    mask = np.zeros((200, 200), np.uint8)
    mask[50:100, 50:100] = 255
    Image.fromarray(mask).save(table.parent / "mask.png")
    pd.DataFrame([{"path": "ct/0.png", "modality": "ct", "mask": "mask.png"}]).to_csv(
        table, index=False
    )
    store = ingest(make(table))
    assert store.masks is not None
    assert store.masks.mean() == pytest.approx(1 / 16, abs=2e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,modality\na.png,ct\n", "column 'path' is missing"),
        ("path,modality\n", "no rows"),
        ("path,modality\na.png,\n", "row 2: path .* and modality must not be empty"),
        ("path,modality\na.png,cat\n", "'cat' is not a modality. Did you mean 'ct'"),
        ("", "column .path. is missing; found none"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        make(path)


@pytest.mark.parametrize("low", ["", "x", "3000"])
def test_a_wrong_window_is_refused(table, low):
    row = {"path": "ct/0.png", "modality": "ct", "window_low": low, "window_high": 1000}
    pd.DataFrame([row]).to_csv(table, index=False)
    with pytest.raises(UsageError, match="window_low"):
        make(table)


@pytest.mark.parametrize("column", ["path", "mask"])
def test_a_relative_path_that_leaves_the_folder_is_refused_with_its_row(table, column):
    good = {"path": "ct/0.png", "modality": "ct", "mask": "ct/../ct/1.png"}
    bad = good | {"path": "ct/1.png"} | {column: "ct/../../secret.png"}
    pd.DataFrame([good, bad]).to_csv(table, index=False)
    store = ingest(make(table))
    assert [row.id for row in store.rows] == ["ct/0.png"]
    assert re.search(rf"row 3: {column} .* leaves the table's folder", store.failures[0].reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,", "row 3: path .* and modality must not be empty"),
        ("ct/0.png,ct", "row 3: 'ct/0.png' occurs more than once"),
        ("a.png,cat", "row 3: 'cat' is not a modality. Did you mean 'ct'"),
        ("absent.png,ct", "absent.png"),
    ],
)
def test_a_bad_row_is_named_and_the_good_one_kept(table, row, reason):
    table.write_text(f"path,modality\nct/0.png,ct\n{row}\n")
    store = ingest(make(table))
    assert [each.id for each in store.rows] == ["ct/0.png"]
    assert re.search(reason, store.failures[0].reason)


def test_an_absolute_path_is_read_wherever_it_lies(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "a.png"
    Image.new("L", (20, 20), 9).save(path)
    pd.DataFrame([{"path": path, "modality": "ct"}]).to_csv(table, index=False)
    assert np.unique(ingest(make(table)).images).tolist() == [9]
