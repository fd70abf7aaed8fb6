"""Whole runs: exactly the planted images are rejected, each for its own reason."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.registry import load_dataset

CLINICAL = (
    "Axial image of the chest with a small nodule in the left lower lobe of a patient at 60 y"
)
LABELS = {"image_primary_label": ["Clinical Imaging"], "image_secondary_label": ["ultrasound"]}


def reasons(out):
    table = pd.read_parquet(out / "candidates.parquet")
    return {
        row.source_file: (None if row.kept else row.reason) for row in table.itertuples(index=False)
    }


def test_exactly_the_planted_rows_of_a_table_are_rejected(
    tmp_path, curate, texture, planted_images
):
    root = tmp_path / "pairs"
    root.mkdir()
    rows, expected = [], {}

    def add(name, image, reason, **facts):
        Image.fromarray(image).save(root / name)
        good = {"identifier": name, "caption": CLINICAL, "modality": "x-ray"} | LABELS
        rows.append(good | facts)
        expected[name] = reason

    for number in range(12):
        add(f"good-{number}.png", texture(), None)
    for reason, image in planted_images.items():
        add(f"{reason}.png", image, reason)
    add("short.png", texture(), "caption-short", caption="CT of the chest")
    add("words.png", texture(), "caption-keywords", caption="a long text about nothing " * 5)
    add("none.png", texture(), "caption-missing", caption=None)
    add("plot.png", texture(), "relevance", image_primary_label=["Plots and Charts"])
    add("photo.png", texture(), "relevance", image_secondary_label=["patient photo"])
    add("bad-modality.png", texture(), "unreadable", modality="painting")
    add("cut.png", texture(), "unreadable")
    (root / "cut.png").write_bytes((root / "cut.png").read_bytes()[:900])
    rows.append({"identifier": "absent.png", "caption": CLINICAL, "modality": "ct"} | LABELS)
    rows.append({"identifier": "../out.png", "caption": CLINICAL, "modality": "ct"} | LABELS)
    expected |= {"absent.png": "unreadable", "../out.png": "unreadable"}
    table = root / "pairs.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows))

    report = curate(str(table), preset="biomedica", captions=True)
    assert reasons(tmp_path / "out") == expected
    assert report["kept"] == 12
    assert report["by_source"]["pairs"]["rejected"] == {
        "caption-keywords": 1,
        "caption-missing": 1,
        "caption-short": 1,
        "dynamic-range": 1,
        "minimum-side": 1,
        "palette": 1,
        "relevance": 2,
        "standard-deviation": 1,
        "unreadable": 4,
    }
    details = pd.read_parquet(tmp_path / "out" / "candidates.parquet").set_index("source_file")
    assert "row 22" in details.loc["bad-modality.png", "detail"]
    assert "leaves the table's folder" in details.loc["../out.png", "detail"]
    assert str(tmp_path) not in (tmp_path / "out" / "candidates.parquet").read_bytes().decode(
        "latin1"
    )


def test_the_kept_images_are_those_of_the_source(tmp_path, curate, texture):
    root = tmp_path / "set" / "fundus"
    root.mkdir(parents=True)
    images = [texture() for _ in range(3)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(root / f"{number}.png")
    curate(str(tmp_path / "set"))
    for reference in (f"manifest:{tmp_path}/out/index.parquet", f"folder:{tmp_path}/out/images"):
        items = load_dataset(reference).items()
        assert [item.group for item in items] == ["fundus"] * 3
        for item, image in zip(items, images, strict=True):
            np.testing.assert_array_equal(item.load().rgb, image)


def ct_volume(rng, shape=(135, 140, 145)):
    """Hounsfield units: textured tissue in all but the first 20 sagittal slices."""
    values = np.full(shape, -1000, np.int16)
    values[20:] = rng.integers(-200, 1500, (shape[0] - 20, *shape[1:]), dtype=np.int16)
    return values


def test_ct_volumes_are_cut_on_three_planes_and_keep_their_hounsfield_units(
    tmp_path, curate, save_nifti, rng
):
    values = ct_volume(rng)
    save_nifti(tmp_path / "v" / "a.nii", values)
    curate(f"nifti@ct:{tmp_path}/v")
    out = tmp_path / "out"
    table = pd.read_parquet(out / "candidates.parquet")
    assert table.groupby("plane").size().to_dict() == {"axial": 29, "coronal": 28, "sagittal": 27}
    rejected = table[~table.kept]
    assert list(zip(rejected.plane, rejected.slice, rejected.reason, strict=True)) == [
        ("sagittal", index, "ct-little-tissue") for index in (0, 5, 10, 15)
    ]
    index = pd.read_parquet(out / "index.parquet").set_index(["plane", "slice"])
    for place, expected in {
        ("axial", 10): values[::-1, ::-1, 10].T,
        ("coronal", 135): values[::-1, 135, ::-1].T,
        ("sagittal", 20): values[20, ::-1, ::-1].T,
    }.items():
        with Image.open(out / index.loc[place, "path"]) as image:
            np.testing.assert_array_equal(np.asarray(image).astype(int) - 1024, expected)


def test_the_index_loads_as_a_manifest_with_the_right_hounsfield_units(
    tmp_path, curate, save_nifti, rng
):
    values = ct_volume(rng)
    save_nifti(tmp_path / "v" / "a.nii", values)
    curate(f"nifti@ct:{tmp_path}/v")
    items = {
        item.id: item for item in load_dataset(f"manifest:{tmp_path}/out/index.parquet").items()
    }
    shown = items["v/a.nii#axial/50"].load().rgb[..., 0]
    hounsfield = values[::-1, ::-1, 50].T.astype(float)
    expected = np.rint((hounsfield.clip(-1000, 1000) + 1000) / 2000 * 255)
    assert np.abs(shown - expected).max() == 0
    assert {item.group for item in items.values()} == {"ct"}


def test_padding_of_the_scanner_is_stored_as_the_lowest_value(tmp_path, curate, save_nifti, rng):
    values = rng.integers(-3024, 1000, (130, 130, 1), dtype=np.int16)
    save_nifti(tmp_path / "v" / "a.nii", values)
    curate(f"nifti@ct:{tmp_path}/v")
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    with Image.open(tmp_path / "out" / index.path[0]) as image:
        stored = np.asarray(image).astype(int) - 1024
    np.testing.assert_array_equal(stored, values[::-1, ::-1, 0].T.clip(-1024))


def test_mr_is_clipped_to_percentiles_of_the_volume(tmp_path, curate, save_nifti, rng):
    values = rng.integers(0, 4000, (130, 130, 11)).astype(np.float32)
    values[..., 5] = 0
    values[..., 5][:20, :20] = 3000
    save_nifti(tmp_path / "v" / "a.nii", values)
    curate(f"nifti@mri:{tmp_path}/v")
    out = tmp_path / "out"
    table = pd.read_parquet(out / "candidates.parquet")
    axial = table[table.plane == "axial"]
    assert axial.reason.fillna("").tolist() == ["", "mr-little-signal", ""]
    assert set(table[table.plane != "axial"].reason) == {"minimum-side"}
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.rint((values[::-1, ::-1, 10].T.clip(low, high) - low) / (high - low) * 255)
    with Image.open(out / axial.path.iloc[2]) as image:
        np.testing.assert_allclose(np.asarray(image), expected, atol=1)


@pytest.mark.parametrize(
    ("modality", "fill", "reason"),
    [("ct", lambda v: v - v.min(), "ct-not-hounsfield"), ("mri", np.zeros_like, "volume-constant")],
)
def test_volumes_that_are_not_what_they_should_be(
    tmp_path, curate, save_nifti, rng, modality, fill, reason
):
    values = fill(rng.integers(-900, 900, (130, 130, 1), dtype=np.int16))
    save_nifti(tmp_path / "v" / "a.nii", values)
    curate(f"nifti@{modality}:{tmp_path}/v")
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    assert table[table.plane == "axial"].reason.tolist() == [reason]


def test_a_volume_with_nan_is_one_unreadable_row_and_the_others_stay(
    tmp_path, curate, save_nifti, rng
):
    good = rng.integers(-900, 900, (130, 130, 1)).astype(np.float32)
    bad = good.copy()
    bad[0, 0, 0] = np.nan
    save_nifti(tmp_path / "v" / "a.nii", bad)
    save_nifti(tmp_path / "v" / "b.nii", good)
    curate(f"nifti@ct:{tmp_path}/v")
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    assert table[table.source_file == "a.nii"].reason.tolist() == ["unreadable"]
    assert table[(table.source_file == "b.nii") & table.kept].plane.tolist() == ["axial"]


def test_nifti_without_nibabel_says_what_to_install(tmp_path, curate, save_nifti, monkeypatch):
    save_nifti(tmp_path / "v" / "a.nii", np.zeros((4, 4, 4), np.int16))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingPrerequisite, match=r"medbench\[volumes\]"):
        curate(f"nifti@ct:{tmp_path}/v")


def test_sources_of_the_same_name_stay_apart(tmp_path, curate, texture):
    for place in ("one", "two"):
        (tmp_path / place / "set" / "ct").mkdir(parents=True)
        Image.fromarray(texture()).save(tmp_path / place / "set" / "ct" / "a.png")
    report = curate(f"{tmp_path}/one/set", f"{tmp_path}/two/set")
    assert {name: one["kept"] for name, one in report["by_source"].items()} == {
        "set": 1,
        "set-2": 1,
    }


def test_hounsfield_units_in_16_bit_images_of_a_table_survive(tmp_path, curate, rng):
    values = rng.integers(-1000, 1000, (140, 150))
    Image.fromarray((values + 1000).astype(np.uint16)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(
        "path,modality,window_low,window_high,bias\na.png,ct,-1000,1000,1000\n"
    )
    curate(str(tmp_path / "t.csv"))
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    with Image.open(tmp_path / "out" / index.path[0]) as image:
        np.testing.assert_array_equal(np.asarray(image).astype(int) - 1024, values)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere", MissingPrerequisite, "not found"),
        ("volumes", UsageError, "nifti@ct:PATH"),
        ("nifti:volumes", UsageError, "modality"),
        ("nifti@ct,all:volumes", UsageError, "nothing else"),
        ("loose", UsageError, "folder@MODALITY:PATH"),
        ("empty", UsageError, "no images"),
        ("folder@painting:loose", UsageError, "not a modality"),
        ("dicom@-160..240:volumes", UsageError, "no window"),
        ("no-path.csv", UsageError, "needs a column path"),
        ("torn.jsonl", UsageError, "line 2"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, curate, save_nifti, texture, source, error, message):
    save_nifti(tmp_path / "volumes" / "a.nii", np.zeros((4, 4, 4), np.int16))
    for name in ("loose", "empty"):
        (tmp_path / name).mkdir()
    Image.fromarray(texture()).save(tmp_path / "loose" / "a.png")
    (tmp_path / "no-path.csv").write_text("file,modality\na.png,ct\n")
    (tmp_path / "torn.jsonl").write_text('{"path": "a.png", "modality": "ct"}\n{"path": ')
    head, _, rest = source.rpartition(":")
    reference = f"{head}:{tmp_path}/{rest}" if head else f"{tmp_path}/{rest}"
    with pytest.raises(error, match=message):
        curate(reference)
    assert not (tmp_path / "out").exists()
