from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from medbench.harness.datasets import medmnist as module
from medbench.harness.datasets.card import packaged_card, packaged_cards
from medbench.harness.datasets.medmnist import build, official_table
from medbench.harness.datasets.medmnist_sets import NAMES, SIZES
from medbench.harness.datasets.official import allow_modified
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError

COUNTS = {"train": 546, "val": 78, "test": 156}


@pytest.fixture
def arrays(rng):
    made = {}
    for split, count in COUNTS.items():
        made[f"{split}_images"] = rng.integers(1, 256, (count, 28, 28), dtype=np.uint8)
        made[f"{split}_labels"] = rng.integers(0, 2, (count, 1), dtype=np.uint8)
    return made


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root, whose files pass for official as far as the md5 goes."""
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "medmnist").mkdir()
    return tmp_path


def save(root, arrays):
    path = root / "medmnist" / "breastmnist.npz"
    np.savez_compressed(path, **arrays)
    return path


def make(root, variant="28", name="breastmnist"):
    return build(f"{name}@{variant}", argument="", variant=variant, data_root=root)


def test_images_and_labels_are_the_files_own(root, arrays):
    save(root, arrays)
    for variant, split in (("28", "test"), ("28-val", "val"), ("28-train", "train")):
        dataset = make(root, variant)
        items = dataset.items()
        assert dataset.split == split
        assert len(items) == COUNTS[split]
        for row in (0, 7, len(items) - 1):
            rgb = items[row].load().rgb
            image = arrays[f"{split}_images"][row]
            np.testing.assert_array_equal(rgb, np.stack([image] * 3, axis=-1))
            names = ["malignant", "normal, benign"]
            assert items[row].label == names[arrays[f"{split}_labels"][row, 0]]
        assert {item.group for item in items} == {"ultrasound"}


def test_splits_have_their_own_ids_and_test_is_the_default(root, arrays):
    save(root, arrays)
    assert [make(root, v).id for v in ("28", "28-test", "28-val")] == [
        "breastmnist@28",
        "breastmnist@28",
        "breastmnist@28-val",
    ]


def test_a_file_that_is_not_the_official_one_is_refused_with_both_md5(root, arrays, monkeypatch):
    path = save(root, arrays)
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    found = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(UsageError) as caught:
        make(root)
    assert found in str(caught.value)
    assert "750601b1f35ba3300ea97c75c52ff8f6" in str(caught.value)
    assert "MEDBENCH_ALLOW_MODIFIED=1" in str(caught.value)


def test_an_allowed_modified_file_marks_the_card_and_an_official_one_does_not(
    root, arrays, monkeypatch
):
    path = save(root, arrays)
    assert make(root).card.known_problems[0].startswith("modified file: breastmnist.npz: its md5")
    card = packaged_card("breastmnist")
    found = hashlib.md5(path.read_bytes()).hexdigest()
    official = [each.model_copy(update={"md5": found}) for each in card.downloads]
    own = card.model_copy(update={"downloads": official})
    monkeypatch.setattr(module, "packaged_card", lambda _: own)
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    assert not any("modified" in problem for problem in make(root).card.known_problems)


def test_the_permission_is_given_by_one_call(root, arrays, monkeypatch):
    save(root, arrays)
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "0")
    with pytest.raises(UsageError, match="is not the official file"):
        make(root)
    allow_modified()
    assert len(make(root).items()) == 156


def test_an_all_zero_image_fails_with_its_row_and_the_others_stay(root, arrays):
    arrays["test_images"][5] = 0
    path = save(root, arrays)
    store = ingest(make(root))
    assert len(store) == 155
    [failure] = store.failures
    assert f"{path}: test row 5: the image is all zero" in failure.reason


def test_a_label_out_of_range_fails_with_its_row_and_the_others_stay(root, arrays):
    arrays["test_labels"][9] = 2
    path = save(root, arrays)
    store = ingest(make(root))
    assert len(store) == 155
    [failure] = store.failures
    assert f"{path}: test row 9: label [2] is outside 0..1" in failure.reason


def test_wrong_split_sizes_are_refused_with_both_counts_or_marked(root, arrays, monkeypatch):
    for kind in ("images", "labels"):
        arrays[f"val_{kind}"] = arrays[f"val_{kind}"][:70]
    save(root, arrays)
    said = "val has 70 rows, the official file has 78"
    assert said in make(root).card.known_problems[0]
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    with pytest.raises(UsageError, match=rf"breastmnist\.npz is not the official file.*{said}"):
        make(root)


def test_labels_of_another_count_than_images_are_refused_even_when_allowed(root, arrays):
    arrays["val_labels"] = arrays["val_labels"][:70]
    save(root, arrays)
    with pytest.raises(UsageError, match=r"breastmnist\.npz: val has 78 images and 70 labels"):
        make(root)


@pytest.mark.parametrize("shape", [(156, 20, 28), (156, 28, 28, 3), (156, 64, 64)])
def test_images_of_another_shape_are_refused_even_when_allowed(root, arrays, shape):
    arrays["test_images"] = np.ones(shape, np.uint8)
    save(root, arrays)
    with pytest.raises(UsageError, match=r"breastmnist\.npz: test has images .* \(28, 28\)"):
        make(root)


def test_an_absent_array_is_named(root, arrays):
    del arrays["val_labels"]
    save(root, arrays)
    with pytest.raises(UsageError, match=r"breastmnist\.npz: no array 'val_labels'"):
        make(root)


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_file_is_refused_by_path(root, arrays, share):
    path = save(root, arrays)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match=r"breastmnist\.npz: .* Truncated or damaged"):
        make(root)


def test_a_damaged_byte_inside_the_images_is_found(root, arrays):
    path = save(root, arrays)
    data = bytearray(path.read_bytes())
    at = data.index(b"test_images.npy") + 5000
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="test_images cannot be read"):
        make(root).items()[0].load()


def test_an_absent_file_says_where_it_was_looked_for_and_where_to_get_it(root):
    with pytest.raises(MissingPrerequisite) as caught:
        make(root, "224")
    assert str(root / "medmnist" / "breastmnist_224.npz") in str(caught.value)
    assert "https://zenodo.org" in str(caught.value)


@pytest.mark.parametrize("variant", ["", "27", "28-tests", "test"])
def test_an_unknown_size_or_split_is_refused(root, variant):
    with pytest.raises(UsageError, match="sizes 28, 64, 128, 224"):
        make(root, variant)


def test_every_2d_set_of_the_package_has_a_modality_and_files_of_four_sizes():
    two_d = {name for name, info in official_table().items() if "MD5_224" in info}
    assert two_d == set(NAMES)
    assert all(f"url_{size}" in official_table()[n] for n in two_d for size in SIZES[1:])


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_the_facts_that_the_package_prints(name):
    info, card = official_table()[name], packaged_card(name)
    assert card.splits == info["n_samples"]
    assert card.licence == info["license"]
    assert card.title.startswith(info["python_class"])
    assert (card.pixels == "publish") == (info["license"] == "CC BY 4.0")
    assert card.access == "open"
    for size, download in zip(SIZES, card.downloads, strict=True):
        suffix = "" if size == 28 else f"_{size}"
        assert download.filename == f"{name}{suffix}.npz"
        assert download.url == info[f"url{suffix}"]
        assert download.md5 == info[f"MD5{suffix}"]


def test_a_layout_is_verified_only_where_a_file_was_read():
    read = {name for name in NAMES if packaged_card(name).layout != "unverified"}
    assert read == {"breastmnist", "pneumoniamnist"}


def test_the_printed_counts_of_the_seven_sets_are_on_their_cards():
    printed = {
        name: row.count
        for name in NAMES
        for row in packaged_card(name).listed
        if row.table == "MedITok S8"
    }
    assert printed == {
        "pneumoniamnist": 4708 + 1148,
        "pathmnist": 89996 + 500,
        "chestmnist": 78468 + 500,
        "bloodmnist": 11959 + 500,
        "dermamnist": 7007 + 500,
        "retinamnist": 1080 + 500,
        "breastmnist": 546 + 234,
    }


def test_no_other_card_is_taken_for_one_of_the_sets():
    assert {name for name in packaged_cards() if name.endswith("mnist")} == set(NAMES)


def test_dermamnist_keeps_its_licence_and_its_pixels_at_home(root):
    made = {}
    for split in ("train", "val", "test"):
        made[f"{split}_images"] = np.full((3, 28, 28, 3), 7, np.uint8)
        made[f"{split}_labels"] = np.zeros((3, 1), np.uint8)
    np.savez_compressed(root / "dermamnist.npz", **made)
    card = make(root, name="dermamnist").card
    assert (card.licence, card.pixels) == ("CC BY-NC 4.0", "local")
    assert (card.id, card.native_size) == ("dermamnist@28", "28x28")
    assert len(card.downloads) == 1


def test_findings_of_a_multi_label_set_are_joined(root):
    labels = np.zeros((5, 14), np.uint8)
    labels[3, [0, 2]] = 1
    made = {"test_images": np.ones((5, 28, 28), np.uint8), "test_labels": labels}
    np.savez_compressed(root / "chestmnist.npz", **made)
    items = make(root, name="chestmnist").items()
    assert [items[2].label, items[3].label] == ["", "atelectasis|effusion"]


def test_reading_the_official_table_loads_no_torch():
    code = (
        "import sys; from medbench.harness.datasets.medmnist import official_table;"
        "official_table(); print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


@pytest.mark.parametrize(("name", "positives"), [("breastmnist", 114), ("pneumoniamnist", 390)])
def test_the_real_files_have_official_counts_and_are_refused_unless_told(
    real_data, monkeypatch, name, positives
):
    with pytest.raises(UsageError, match="is not the official file"):
        make(real_data, name=name)
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    dataset = make(real_data, name=name)
    items = dataset.items()
    second = dataset.label_names[1]
    assert sum(item.label == second for item in items) == positives
    with np.load(real_data / "medmnist" / f"{name}.npz") as archive:
        np.testing.assert_array_equal(items[11].load().rgb[..., 1], archive["test_images"][11])
