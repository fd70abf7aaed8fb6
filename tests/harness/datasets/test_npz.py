from __future__ import annotations

import errno
import io
import zipfile

import numpy as np
import pytest

from medbench.harness.datasets import npz_member
from medbench.harness.datasets.npz import build
from medbench.harness.datasets.npz_member import array_facts, open_member
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, RunAgain, UsageError


@pytest.fixture
def arrays(rng):
    made = {}
    for split, count in {"train": 9, "val": 4, "test": 6}.items():
        made[f"{split}_images"] = rng.integers(1, 256, (count, 12, 10), dtype=np.uint8)
        made[f"{split}_labels"] = rng.integers(0, 3, (count, 1), dtype=np.int64)
    return made


def make(folder, arrays, variant="mri", name="set.npz", save=np.savez_compressed):
    save(folder / name, **arrays)
    return build(f"npz@{variant}:{name}", argument=name, variant=variant, data_root=folder)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_are_the_files_own(tmp_path, arrays, save):
    for variant, split in (("mri", "test"), ("mri-val", "val"), ("mri-train", "train")):
        dataset = make(tmp_path, arrays, variant, save=save)
        assert dataset.split == split
        assert dataset.id == f"npz@{variant}:set.npz"
        items = dataset.items()
        assert [item.label for item in items] == [
            str(value) for (value,) in arrays[f"{split}_labels"].tolist()
        ]
        for row, item in enumerate(items):
            grey = arrays[f"{split}_images"][row]
            np.testing.assert_array_equal(item.load().rgb, np.stack([grey] * 3, axis=-1))
            assert item.group == "mri"
    assert dataset.card.splits == {"train": 9, "val": 4, "test": 6}


def test_colour_is_kept_and_flat_labels_are_read_as_a_column_is(tmp_path, arrays, rng):
    arrays["test_images"] = rng.integers(1, 256, (6, 12, 12, 3), dtype=np.uint8)
    arrays["test_labels"] = np.array([0, 1, 2, 3, 4, 5], np.uint8)
    items = make(tmp_path, arrays, "dermoscopy").items()
    np.testing.assert_array_equal(items[4].load().rgb, arrays["test_images"][4])
    assert [item.label for item in items] == ["0", "1", "2", "3", "4", "5"]


def test_several_findings_are_joined_and_one_that_is_not_0_or_1_fails(tmp_path, arrays):
    arrays["test_labels"] = np.array([[0, 0], [1, 0], [1, 1], [2, 0], [0, 1], [0, 0]])
    items = make(tmp_path, arrays, "xray").items()
    assert [item.label for item in items] == ["", "0", "0|1", None, "1", ""]
    with pytest.raises(UsageError, match=r"set\.npz: test row 3: label \[2, 0\] is outside 0\.\.1"):
        items[3].load()


def test_bad_rows_fail_by_name_and_the_others_stay(tmp_path, arrays):
    arrays["test_labels"][1] = -1
    arrays["test_images"][4] = 0
    store = ingest(make(tmp_path, arrays))
    assert [row.id for row in store.rows] == [f"test/00000{row}" for row in (0, 2, 3, 5)]
    reasons = [failure.reason for failure in store.failures]
    assert "test row 1: label [-1] is outside 0 and above" in reasons[0]
    assert "test row 4: the image is all zero" in reasons[1]


DAMAGE = {
    "images and labels differ": (
        {"test_labels": np.zeros((5, 1), np.uint8)},
        r"set\.npz: test has 6 images and 5 labels",
    ),
    "16 bits": (
        {"test_images": np.ones((6, 12, 12), np.uint16)},
        r"test_images is uint16 \(6, 12, 12\); expected uint8",
    ),
    "too small": ({"val_images": np.ones((4, 7, 7), np.uint8)}, "at least 8 pixels a side"),
    "four channels": ({"val_images": np.ones((4, 9, 9, 4), np.uint8)}, r"val_images is uint8"),
    "not images": ({"val_images": np.ones(4, np.uint8)}, r"val_images is uint8 \(4,\)"),
    "float labels": ({"test_labels": np.ones((6, 1))}, r"test_labels is float64 \(6, 1\)"),
    "object labels": (
        {"test_labels": np.array(["a", "b", "c", "d", "e", None], object)},
        r"test_labels is object \(6,\); expected integers",
    ),
    "object images": ({"test_images": np.array([None] * 6, object)}, "test_images is object"),
}


@pytest.mark.parametrize("case", DAMAGE, ids=str)
def test_arrays_of_another_layout_are_refused_by_name(tmp_path, arrays, case):
    replaced, message = DAMAGE[case]
    with pytest.raises(UsageError, match=message):
        make(tmp_path, arrays | replaced)


def test_an_array_without_its_partner_is_named(tmp_path, arrays):
    del arrays["val_labels"]
    with pytest.raises(UsageError, match=r"set\.npz: no array 'val_labels'; found train_images"):
        make(tmp_path, arrays)


def test_absent_splits_are_fine_until_asked_for(tmp_path, arrays):
    only = {name: array for name, array in arrays.items() if name.startswith("test")}
    assert len(make(tmp_path, only).items()) == 6
    with pytest.raises(UsageError, match="has no val split; found: test"):
        make(tmp_path, only, "mri-val")
    with pytest.raises(UsageError, match=r"no array named as in MedMNIST files .* found weights"):
        make(tmp_path, {"weights": np.ones(3)})


@pytest.mark.parametrize("share", [0.2, 0.9, 0.99])
def test_a_truncated_file_is_refused_by_path(tmp_path, arrays, share):
    make(tmp_path, arrays)
    path = tmp_path / "set.npz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match=r"set\.npz: cannot be read .* Truncated or damaged"):
        build("npz@mri:set.npz", argument="set.npz", variant="mri", data_root=tmp_path)


def test_lack_of_memory_is_no_damage_and_removes_nothing(tmp_path, arrays, monkeypatch):
    path = make(tmp_path, arrays).path
    open_member(path, "test_images")
    monkeypatch.setattr(npz_member, "_opened", {})

    def fail(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fail)
        with pytest.raises(RunAgain, match=r"set\.npz: test_images: .*Cannot allocate memory"):
            open_member(path, "test_images")
    monkeypatch.setattr(npz_member, "_unpack", lambda *_: pytest.fail("unpacked again"))
    np.testing.assert_array_equal(open_member(path, "test_images"), arrays["test_images"])


def test_lack_of_memory_while_a_header_is_read_is_no_damage(tmp_path, arrays, monkeypatch):
    path = make(tmp_path, arrays).path

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", fail)
    with pytest.raises(RunAgain, match=r"set\.npz: cannot be read now \(out of memory\)"):
        array_facts(path)


def test_a_file_that_is_no_archive_or_holds_no_arrays_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip file")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("test_images.npy", b"no header")
    for name, message in (("a", "Truncated or damaged"), ("b", "test_images is not a plain array")):
        with pytest.raises(UsageError, match=rf"{name}\.npz: .*{message}"):
            build("npz@ct:x", argument=f"{name}.npz", variant="ct", data_root=tmp_path)


def test_headers_tell_what_loading_would(tmp_path, arrays):
    make(tmp_path, arrays)
    buffer = io.BytesIO((tmp_path / "set.npz").read_bytes())
    facts = array_facts(tmp_path / "set.npz")
    with np.load(buffer) as archive:
        assert set(facts) == set(archive.files)
        for name, fact in facts.items():
            assert (fact.shape, fact.dtype) == (archive[name].shape, archive[name].dtype)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("", "write npz@MODALITY:FILE"),
        ("mri-dev", "write npz@MODALITY:FILE"),
        ("mr", "'mr' is not a modality"),
    ],
)
def test_a_modality_and_a_known_split_are_needed(tmp_path, arrays, variant, message):
    with pytest.raises(UsageError, match=message):
        make(tmp_path, arrays, variant)


def test_an_absent_file_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"none\.npz"):
        build("npz@ct:none.npz", argument="none.npz", variant="ct", data_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "modality", "counts", "classes"),
    [
        ("brainmri4_28_derived", "mri", {"train": 2400, "val": 400, "test": 800}, 4),
        ("ham_malignant_28_derived", "dermoscopy", {"train": 1321, "val": 193, "test": 647}, 2),
    ],
)
def test_the_derived_files_load(real_data, name, modality, counts, classes):
    place = f"derived_classification/{name}.npz"
    for split, count in counts.items():
        dataset = build(
            f"npz@{modality}-{split}:{place}",
            argument=place,
            variant=f"{modality}-{split}",
            data_root=real_data,
        )
        items = dataset.items()
        assert len(items) == count
        assert {item.label for item in items} == {str(label) for label in range(classes)}
        with np.load(real_data / place) as archive:
            image = archive[f"{split}_images"][17]
        shown = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
        np.testing.assert_array_equal(items[17].load().rgb, shown)
    assert dataset.card.splits == counts
