from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import measure

from medbench.harness.datasets import sa_med2d
from medbench.harness.errors import MissingPrerequisite, UsageError


@pytest.fixture
def pair(tmp_path, save_nifti, rng):
    """A CT volume and its mask: class 1 in two pieces (one tiny), class 3 in one."""
    values = rng.integers(-1000, 1000, (40, 44, 48), dtype=np.int16)
    labels = np.zeros(values.shape, np.uint8)
    labels[5:15, 5:15, 10] = 1
    labels[30, 30, 10] = 1
    labels[20:30, 25:40, 10:12] = 3
    save_nifti(tmp_path / "ct" / "case 1.nii.gz", values)
    save_nifti(tmp_path / "seg" / "case 1.nii.gz", labels)
    return values, labels


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_all_slices_of_three_axes_are_stretched_to_8_bits(tmp_path, curate, pair):
    values, _ = pair
    curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d")
    out = tmp_path / "out"
    index = pd.read_parquet(out / "index.parquet")
    assert len(index) == sum(values.shape)
    name = index.set_index(["plane", "slice"]).loc[("axial", 7), "path"]
    assert name.startswith("images/ct_00--ct--case_1.")
    assert name.endswith("--z_0007.png")
    low, high = int(values.min()), int(values.max())
    expected = (values[::-1, ::-1, 7].T.astype(float) - low) / (high - low) * 255
    np.testing.assert_array_equal(read(out / name), np.rint(expected))


def test_slices_of_extreme_aspect_are_dropped(tmp_path, curate, save_nifti, rng):
    for depth in (15, 16):
        values = rng.integers(-1000, 1000, (32, 40, depth), dtype=np.int16)
        save_nifti(tmp_path / f"d{depth}" / "a.nii", values)
        curate(f"nifti@ct:{tmp_path}/d{depth}", rules="sa-med2d", out=tmp_path / f"out{depth}")
    tables = {d: pd.read_parquet(tmp_path / f"out{d}" / "candidates.parquet") for d in (15, 16)}
    dropped = {d: set(t[t.reason == "aspect"].plane) for d, t in tables.items()}
    # coronal slices are x by z (32 wide), sagittal ones y by z (40 wide)
    assert dropped == {15: {"coronal", "sagittal"}, 16: {"sagittal"}}


def test_masks_are_split_by_class_and_component_and_small_ones_dropped(tmp_path, curate, pair):
    _, labels = pair
    report = curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d", masks=(tmp_path / "seg",))
    out = tmp_path / "out"
    table = json.loads((out / "SAMed2D_v1.json").read_text())
    (image,) = [name for name in table if name.endswith("z_0010.png")]
    stem = image.removeprefix("images/").removesuffix(".png")
    assert table[image] == [f"masks/{stem}--0001_000.png", f"masks/{stem}--0003_000.png"]
    shown = labels[::-1, ::-1, 10].T
    tiny = labels[30:31, 30:31, 10].sum()
    assert tiny / shown.size < 0.00153
    one = read(out / table[image][0])
    assert set(np.unique(one)) == {0, 255}
    expected = shown == 1
    expected[labels.shape[1] - 1 - 30, labels.shape[0] - 1 - 30] = False
    np.testing.assert_array_equal(one > 0, expected)
    np.testing.assert_array_equal(read(out / table[image][1]) > 0, shown == 3)
    assert report["masks_dropped"] >= 1
    assert json.loads((out / "SAMed2D_v1_class_mapping_id.json").read_text()) == {
        "ct": {"label_1": 1, "label_3": 3}
    }


def test_every_kept_mask_is_one_component_as_another_library_counts(
    tmp_path, curate, save_nifti, rng
):
    values = rng.integers(0, 1000, (64, 64, 1), dtype=np.int16)
    coarse = rng.integers(0, 3, (16, 16))
    labels = np.kron(coarse, np.ones((4, 4)))[..., None].astype(np.uint8)
    save_nifti(tmp_path / "mr" / "a.nii", values)
    save_nifti(tmp_path / "seg" / "a.nii", labels)
    curate(f"nifti@mri:{tmp_path}/mr", rules="sa-med2d", masks=(tmp_path / "seg",))
    (masks,) = json.loads((tmp_path / "out" / "SAMed2D_v1.json").read_text()).values()
    shown = labels[::-1, ::-1, 0].T
    components = [measure.label(shown == value, connectivity=2) for value in (1, 2)]
    assert len(masks) == sum(one.max() for one in components)
    total = np.zeros(shown.shape, int)
    for name in masks:
        pixels = read(tmp_path / "out" / name) > 0
        assert measure.label(pixels, connectivity=2).max() == 1
        total += pixels
    np.testing.assert_array_equal(total, shown > 0)


@pytest.mark.parametrize(("pixels", "kept"), [(100, False), (101, True)])
def test_masks_below_the_printed_fraction_are_dropped(
    tmp_path, curate, save_nifti, rng, pixels, kept
):
    values = rng.integers(0, 1000, (256, 256, 1), dtype=np.int16)
    labels = np.zeros(values.shape, np.uint8)
    labels.reshape(-1)[:pixels] = 1
    save_nifti(tmp_path / "mr" / "a.nii", values)
    save_nifti(tmp_path / "seg" / "a.nii", labels)
    curate(f"nifti@mri:{tmp_path}/mr", rules="sa-med2d", masks=(tmp_path / "seg",))
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    (axial,) = table[table.plane == "axial"].itertuples()
    assert axial.kept == kept
    assert kept or axial.reason == "no-mask"


def test_overlapping_annotations_of_one_image_are_merged(tmp_path, curate, texture):
    image = texture(64, 64)
    first, second = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    first[10:20, 10:20] = 255
    second[15:30, 15:30] = 255
    second[50:60, 50:60] = 255
    for name, pixels in (("fundus", image), ("a", first), ("b", second)):
        place = tmp_path / "set" / name if name == "fundus" else tmp_path / name / "fundus"
        place.mkdir(parents=True)
        Image.fromarray(pixels).save(place / "x.png")
    curate(str(tmp_path / "set"), rules="sa-med2d", masks=(tmp_path / "a", tmp_path / "b"))
    ((name, masks),) = json.loads((tmp_path / "out" / "SAMed2D_v1.json").read_text()).items()
    assert name == "images/fundus_photography--set--" + name.split("--")[2] + "--2d_none.png"
    np.testing.assert_array_equal(read(tmp_path / "out" / name), image)
    expected = [(first | second) * (np.arange(64)[:, None] < limit) for limit in (40,)]
    assert len(masks) == 2
    np.testing.assert_array_equal(read(tmp_path / "out" / masks[0]), expected[0])


def test_a_mask_that_does_not_fit_is_one_unreadable_row(tmp_path, curate, pair, save_nifti):
    save_nifti(tmp_path / "seg" / "case 1.nii.gz", np.zeros((4, 4, 4), np.uint8))
    curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d", masks=(tmp_path / "seg",))
    (row,) = pd.read_parquet(tmp_path / "out" / "candidates.parquet").itertuples()
    assert row.reason == "unreadable"
    assert "mask of shape (4, 4, 4)" in row.detail


def test_two_files_that_would_get_one_name_are_refused(tmp_path, curate, texture):
    (tmp_path / "set" / "xray").mkdir(parents=True)
    for suffix in ("png", "bmp"):
        Image.fromarray(texture(64, 64)).save(tmp_path / "set" / "xray" / f"a.{suffix}")
    with pytest.raises(UsageError, match=r"a\.bmp and set/xray/a\.png give the same file"):
        curate(str(tmp_path / "set"), rules="sa-med2d")


def test_deep_images_are_stretched_and_others_stay(tmp_path, curate, rng):
    deep = rng.integers(500, 4000, (64, 64)).astype(np.uint16)
    plain = rng.integers(50, 90, (64, 64)).astype(np.uint8)
    (tmp_path / "set" / "xray").mkdir(parents=True)
    Image.fromarray(deep).save(tmp_path / "set" / "xray" / "deep.png")
    Image.fromarray(plain).save(tmp_path / "set" / "xray" / "plain.png")
    curate(str(tmp_path / "set"), rules="sa-med2d")
    index = pd.read_parquet(tmp_path / "out" / "index.parquet").set_index("source_file")
    low, high = int(deep.min()), int(deep.max())
    expected = np.rint((deep.astype(float) - low) * 255 / (high - low))
    found = {name: read(tmp_path / "out" / path) for name, path in index.path.items()}
    np.testing.assert_array_equal(found["xray/deep.png"], expected)
    np.testing.assert_array_equal(found["xray/plain.png"], plain)


def test_masks_that_are_absent_or_named_otherwise_are_refused(tmp_path, curate, pair):
    with pytest.raises(MissingPrerequisite, match="not a directory"):
        curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d", masks=(tmp_path / "no",))
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="case 1"):
        curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d", masks=(tmp_path / "other",))


def test_the_reader_of_sa_med2d_takes_the_result(tmp_path, curate, pair):
    values, labels = pair
    curate(f"nifti@ct:{tmp_path}/ct", rules="sa-med2d", masks=(tmp_path / "seg",))
    items = sa_med2d.build("sa-med2d", argument=str(tmp_path / "out")).items()
    assert {item.group for item in items} == {"ct"}
    (item,) = [item for item in items if "z_0011" in item.id]
    assert item.load().rgb.shape == (values.shape[1], values.shape[0], 3)
    np.testing.assert_array_equal(item.load_mask(), labels[::-1, ::-1, 11].T > 0)
