"""Sets placed in the data root: what is found, what is left out, and what differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.card import Card, packaged_card
from medbench.harness.datasets.path_globs import files_below, glob_matches
from medbench.harness.datasets.placed import build, read_placed, survey
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError

SIDE = 16


def save(path: Path, value: int = 100, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (SIDE, SIDE), value).save(path)


def card_of(kind: str, **reading: object) -> Card:
    reading = {"folder": "set", "kind": kind, "include": ["**/*.png"], **reading}
    facts = {
        "id": "aset",
        "title": "a set",
        "source": "https://example.org",
        "licence": "unknown",
        "layout": "unverified",
        "how_to_get": "1. Ask its owners.",
        "modalities": reading.pop("modalities", ["xray"]),
        "splits": reading.pop("splits", {}),
        "listed": reading.pop("listed", []),
        "known_problems": ["As ever."],
    }
    return Card.model_validate(facts | {"reading": reading})


@pytest.fixture
def busi(tmp_path) -> Path:
    folder = tmp_path / "breast-ultrasound-images-dataset" / "Dataset_BUSI_with_GT"
    for name in ("benign", "malignant", "normal"):
        for index in (1, 2):
            save(folder / name / f"{name} ({index}).png", 50 * index)
            save(folder / name / f"{name} ({index})_mask.png", 255)
    save(folder / "benign" / "benign (1)_mask_1.png", 255)
    save(folder / "benign" / ".hidden.png")
    return tmp_path


def test_a_packaged_card_is_read_with_its_labels_and_without_masks(busi):
    dataset = build("breast-ultrasound-images-dataset", argument="", data_root=busi)
    items = dataset.items()
    assert [item.id.rpartition("/")[2] for item in items] == [
        "benign (1).png",
        "benign (2).png",
        "malignant (1).png",
        "malignant (2).png",
    ]
    assert {item.group for item in items} == {"ultrasound"}
    assert [item.label for item in items] == ["benign", "benign", "malignant", "malignant"]
    assert items[1].load().rgb[0, 0].tolist() == [100, 100, 100]
    assert (dataset.id, dataset.split) == ("breast-ultrasound-images-dataset", "all")
    assert ingest(dataset, side=32).images.shape == (4, 32, 32, 3)


def test_a_count_that_differs_from_the_printed_one_is_a_known_problem(busi):
    dataset = build("breast-ultrasound-images-dataset", argument="", data_root=busi)
    first, *others = dataset.card.known_problems
    assert first == ("found 4 of 647 images of MedITok S7 (Breast-Ultrasound-Images-Dataset)")
    assert others == packaged_card("breast-ultrasound-images-dataset").known_problems


def test_no_difference_is_claimed_where_counts_agree_and_more_images_are_told(tmp_path):
    for index in range(3):
        save(tmp_path / "set" / f"{index}.png")
    listed = [{"table": "T", "name": "Aset", "count": 3}]
    agreeing = card_of("images", splits={"all": 3}, listed=listed)
    assert read_placed(agreeing, "", tmp_path).card.known_problems == ["As ever."]
    fewer = card_of("images", splits={"all": 2})
    assert read_placed(fewer, "", tmp_path).card.known_problems[0] == (
        "found 3 images where the owners' set has 2"
    )


def test_an_absent_folder_says_where_it_was_looked_for_and_how_to_get_the_set(tmp_path):
    with pytest.raises(MissingPrerequisite) as error:
        build("chase", argument="", data_root=tmp_path)
    assert str(tmp_path / "chase") in str(error.value)
    assert "1. Download CHASEDB1.zip" in str(error.value)
    with pytest.raises(MissingPrerequisite, match="MEDBENCH_DATA is not set"):
        build("chase", argument="", data_root=None)


def test_a_folder_with_other_files_names_the_globs(tmp_path):
    save(tmp_path / "chase" / "photo.png")
    with pytest.raises(UsageError, match=r"no file in .*chase fits \*\*/Image_\*\.jpg"):
        build("chase", argument="", data_root=tmp_path)


def test_a_path_after_the_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="chase:/data: takes no path"):
        build("chase:/data", argument="/data", data_root=tmp_path)


@pytest.fixture
def chestx(tmp_path) -> Path:
    for name in ("train_data/00000042_006.png", "train_data/00000042_007.png"):
        save(tmp_path / "chestx-det" / name)
    save(tmp_path / "chestx-det" / "test_data" / "36199.png")
    return tmp_path


def test_a_split_is_a_dataset_of_its_own_with_its_own_count(chestx):
    test = build("chestx-det@test", argument="", variant="test", data_root=chestx)
    assert [item.id for item in test.items()] == ["test_data/36199.png"]
    assert (test.id, test.card.id, test.split) == ("chestx-det@test", "chestx-det@test", "test")
    assert test.card.known_problems[0] == "found 1 of 553 images of the owners' test part"
    both = build("chestx-det", argument="", data_root=chestx)
    assert [item.patient for item in both.items()] == [None, "00000042", "00000042"]
    assert both.card.known_problems[:3] == [
        "found 2 of 3,025 images of the owners' train part",
        "found 1 of 553 images of the owners' test part",
        "found 3 of 3,578 images of MedITok S7 (Chestx-Det)",
    ]


def test_an_unknown_split_is_refused_with_those_found(chestx):
    with pytest.raises(UsageError, match="no split 'val' .*; found: test, train"):
        build("chestx-det@val", argument="", variant="val", data_root=chestx)
    with pytest.raises(UsageError, match="chase@test: paths of this set tell no splits"):
        build("chase@test", argument="", variant="test", data_root=chestx)


def test_a_sixteen_bit_image_is_shown_through_the_window_of_its_card(tmp_path):
    (tmp_path / "set").mkdir()
    stored = np.full((SIDE, SIDE), 32768 + 140, dtype=np.uint16)  # 140 HU with a bias of 32768
    Image.fromarray(stored).save(tmp_path / "set" / "a.png")
    card = card_of("images", modalities=["ct"], windowing="-160..240+32768")
    (item,) = read_placed(card, "", tmp_path).items()
    assert item.load().rgb[0, 0].tolist() == [191, 191, 191]  # 300/400 of 255
    other = card_of("images", modalities=["ct"], windowing="-1000..1000+32768")
    (shown,) = read_placed(other, "", tmp_path).items()
    assert shown.content_key() != item.content_key()
    with pytest.raises(UsageError, match="more than 8 bits"):
        read_placed(card_of("images", modalities=["ct"]), "", tmp_path).items()[0].load()


@pytest.mark.parametrize("windowing", ["240..-160", "5", "-1..1+x", "a..b", "1..1"])
def test_a_wrong_windowing_is_refused(tmp_path, windowing):
    save(tmp_path / "set" / "a.png")
    with pytest.raises(UsageError, match="is not LOW..HIGH"):
        read_placed(card_of("images", windowing=windowing), "", tmp_path)


def write_dicom(path: Path, *, modality: str = "CT", patient: str = "P1") -> None:
    """One 16x16 frame from 1040 stored upwards, which is from 16 HU."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    data.Modality, data.PatientID = modality, patient
    data.Rows = data.Columns = SIDE
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = (1040 + np.arange(SIDE * SIDE, dtype=np.uint16)).tobytes()
    data.save_as(path, enforce_file_format=True)


def test_dicom_files_are_read_in_hounsfield_units_and_excluded_ones_are_not(tmp_path):
    root = tmp_path / "aapm-lowdose-ct" / "3mm B30"
    write_dicom(root / "full_3mm" / "L067" / "a.IMA")
    write_dicom(root / "full_3mm" / "L096" / "a.IMA")
    write_dicom(root / "quarter_3mm" / "L067" / "a.IMA")
    items = build("aapm-lowdose-ct", argument="", data_root=tmp_path).items()
    assert [item.patient for item in items] == ["L067", "L096"]
    assert {item.group for item in items} == {"ct"}
    # (16 + 1000) / 2000 of 255, rounded
    assert items[0].load().rgb[0, 0].tolist() == [130, 130, 130]


def test_a_dicom_file_of_another_modality_or_a_damaged_one_fails_alone(tmp_path):
    write_dicom(tmp_path / "set" / "a.dcm")
    write_dicom(tmp_path / "set" / "b.dcm", modality="MR")
    (tmp_path / "set" / "c.dcm").write_bytes(b"\0" * 128 + b"DICMnothing")
    card = card_of("dicom", modalities=["ct"], include=["**/*.dcm"])
    good, other, damaged = read_placed(card, "", tmp_path).items()
    assert good.load().rgb.shape == (SIDE, SIDE, 3)
    assert good.patient not in (None, "P1")  # a pseudonym
    with pytest.raises(UsageError, match=r"aset: b\.dcm: the file says mri, the card says ct"):
        other.load()
    with pytest.raises(UsageError, match=r"c\.dcm"):
        damaged.load()
    assert {item.group for item in (good, other, damaged)} == {"ct"}


def test_volumes_give_slices_patients_and_splits_and_labels_are_left_out(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path / "btcv-cervix" / "RawData"
    values = np.full((SIDE, SIDE, 3), -1000, dtype=np.int16)
    values[..., 1] = 1000
    for name in ("Training/img/7-Image", "Training/label/7-Mask", "Testing/img/8-Image"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(values, np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    dataset = build("btcv-cervix", argument="", data_root=tmp_path)
    items = dataset.items()
    assert len(items) == 6
    assert {item.patient for item in items} == {"7", "8"}
    assert [items[i].load().rgb[0, 0, 0] for i in (0, 1, 2)] == [0, 255, 0]
    training = build(
        "btcv-cervix@Training", argument="", variant="Training", data_root=tmp_path
    ).items()
    assert [item.id for item in training] == [
        f"RawData/Training/img/7-Image.nii.gz#axial/00{index}" for index in range(3)
    ]
    found = survey(packaged_card("btcv-cervix"), tmp_path)
    assert (found.files, found.images, found.expected) == (2, 6, 3039)


def test_a_volume_without_hounsfield_units_is_refused_in_the_common_window_only(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "set").mkdir()
    values = np.tile(np.arange(SIDE, dtype=np.int16)[:, None, None], (1, SIDE, 1))
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "set" / "a.nii.gz")
    common = card_of("nifti", modalities=["ct"], include=["*.nii.gz"], windowing="-1000..1000")
    with pytest.raises(UsageError, match="these are not Hounsfield units"):
        read_placed(common, "", tmp_path).items()[0].load()
    other = card_of("nifti", modalities=["ct"], include=["*.nii.gz"], windowing="0..15")
    assert read_placed(other, "", tmp_path).items()[0].load().rgb.max() == 255


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_a_bias_is_for_plain_images_only(tmp_path, kind):
    (tmp_path / "set").mkdir()
    card = card_of(kind, modalities=["ct"], windowing="-160..240+32768")
    with pytest.raises(UsageError, match="leave out the bias"):
        read_placed(card, "", tmp_path)


def test_a_survey_counts_what_is_there_missing_and_damaged(tmp_path):
    for index in range(3):
        save(tmp_path / "set" / f"{index}.png")
    (tmp_path / "set" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    card = card_of("images", splits={"train": 3, "test": 2})
    found = survey(card, tmp_path)
    assert (found.files, found.images, found.expected, found.missing) == (3, 3, 5, 2)
    assert found.differences == ("found 3 of 5 images of the owners' set",)
    assert [failure.id for failure in found.unreadable] == ["2.png"]
    assert found.problem is None
    assert survey(card, tmp_path, decode=False).unreadable == ()


def test_a_survey_of_an_absent_set_says_so_without_failing(tmp_path):
    found = survey(packaged_card("chase"), tmp_path)
    assert (found.files, found.images, found.expected, found.missing) == (0, 0, 28, 28)
    assert found.folder == tmp_path / "chase"
    assert found.problem is not None
    assert "1. Download CHASEDB1.zip" in found.problem
    assert survey(packaged_card("chase"), None).folder is None


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("**/*.png", "a.png", True),
        ("**/*.png", "a/b/c.PNG", True),
        ("*.png", "a/b.png", False),
        ("**/img/**", "x/img/y/z.tif", True),
        ("**/img/*.tif", "ximg/z.tif", False),
        ("a?.png", "ab.png", True),
        ("a?.png", "a/.png", False),
        ("a.png", "aXpng", False),
        ("**/Stereo Images/*.jpg", "r3/Stereo Images/N-1.jpg", True),
    ],
)
def test_globs_cross_directories_only_where_they_say_so(pattern, name, fits):
    assert glob_matches(name, [pattern]) == fits


def test_files_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b/1.png", "a/2.png", ".git/x.png", "a/._2.png"):
        save(tmp_path / name)
    assert files_below(tmp_path) == ["a/2.png", "b/1.png"]
