"""Every packaged card is complete, honest about its layout, and agrees with the printed tables."""

from __future__ import annotations

import re

import pytest

from medbench.harness.datasets.card import FOLDER, Card, packaged_cards, read_card
from medbench.harness.datasets.path_globs import glob_matches
from medbench.harness.datasets.placed_files import parse_windowing, reading_of
from medbench.harness.errors import UsageError

CARDS = packaged_cards()
READ = {name: card for name, card in CARDS.items() if card.reading is not None}

SUITE = {
    "ivygap-radiomics": 8456,
    "monkeypox": 802,
    "chestx-det": 3578,
    "breast-ultrasound-images-dataset": 647,
    "aapm-lowdose-ct": 3413,
    "ddti": 637,
    "btcv-cervix": 3039,
    "hie2023": 554,
    "surgt": 2933,
    "digestpath19-cls": 455,
    "silver07": 2291,
    "endocv2020-edd": 386,
    "derm7pt": 2013,
    "mednode": 170,
    "messidor": 1748,
    "gleason": 103,
    "rsna-bone-age": 1596,
    "consep": 41,
    "hmc-qu": 1269,
    "chase": 28,
    "covidgr": 852,
    "stare": 20,
}
"""Table S7 of the MedITok paper as printed: 22 rows."""

MODALITY_TOTALS = {
    "mri": 9010,
    "ct": 8743,
    "xray": 6026,
    "endoscopy": 3319,
    "dermoscopy": 2985,
    "ultrasound": 2553,
    "fundus": 1796,
    "pathology": 599,
}

COLLECTION = (
    "CheXpert, ChestXRray 2017, LUNA, CHAOS-CT, NIH-CT-82, CHAOS-MRI, CardiacMRI, ACDC, TCIA, "
    "PROMISE12, ISIC2019, TNBC, GlaS, MoNu, BC-2015, DRISHTI-GS, DRIONS-DB, RIM-r3, REFUGE, HRF, "
    "DRIVE, MESSIDOR, STARE, EyePACS, BUS, BUSI, OCT2017, KIMCCS, CIFAR100, ImageNet, ADE20K, "
    "PascalVOC, MURA"
)

NATURAL = {"cifar100", "imagenet", "ade20k", "pascalvoc"}
OWNER_UNKNOWN = {"cardiacmri", "kimccs"}


def rows(table: str) -> dict[str, tuple[str, int | None]]:
    """Card id -> (printed name, printed count) of one published table."""
    return {
        name: (row.name, row.count)
        for name, card in CARDS.items()
        for row in card.listed
        if row.table == table
    }


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_card_bears_the_name_of_its_file_and_says_what_a_reader_needs(path):
    card = read_card(path)
    assert card.id == path.stem
    for text in (card.title, card.licence, card.how_to_get, card.source):
        assert text.strip()


@pytest.mark.parametrize("name", sorted(rows("MedITok S7")) + sorted(rows("data collection")))
def test_cards_of_the_published_tables_claim_no_layout_that_nobody_read(name):
    card = CARDS[name]
    assert card.layout == "unverified"
    assert card.known_problems
    assert re.match(r"1\. \S", card.how_to_get)
    if name not in OWNER_UNKNOWN:
        assert re.fullmatch(r"https?://\S+", card.source)
        assert card.citation
    for download in card.downloads:
        assert re.fullmatch(r"https?://\S+", download.url)


def test_the_suite_is_the_printed_table_and_the_inferred_set_completes_its_total():
    printed = rows("MedITok S7")
    assert {name: count for name, (_, count) in printed.items() if name != "acrima"} == SUITE
    assert all(row.lower() == name for name, (row, _) in printed.items() if name != "acrima")
    assert sum(count or 0 for _, count in printed.values()) == 35_736
    assert len(printed) == 23
    inferred = next(row for row in CARDS["acrima"].listed if row.table == "MedITok S7")
    assert inferred.note is not None
    assert "inferred: " in inferred.note


def test_the_suite_has_the_images_per_modality_that_its_table_adds_up_to():
    totals: dict[str, int] = {}
    for name, count in SUITE.items():
        (modality,) = CARDS[name].modalities
        totals[modality] = totals.get(modality, 0) + count
    assert totals == MODALITY_TOTALS


def test_all_33_sets_of_the_collection_table_have_a_card_with_its_facts():
    printed = rows("data collection")
    assert sorted(name for name, _ in printed.values()) == sorted(COLLECTION.split(", "))
    for name in printed:
        (row,) = [row for row in CARDS[name].listed if row.table == "data collection"]
        assert row.note is not None
        assert re.search(r"^modality .*; target .*; task .*", row.note)
    assert {name for name in printed if not CARDS[name].modalities} == NATURAL


@pytest.mark.parametrize(
    ("name", "count"),
    [("chexpert", 224_316 + 624), ("oct2017", 109_309), ("acdc", None), ("imagenet", None)],
)
def test_printed_train_and_test_counts_are_added_and_others_left_out(name, count):
    assert rows("data collection")[name][1] == count


def test_the_eight_caption_sets_add_up_to_the_stated_pairs():
    printed = rows("MedITok S6")
    assert len(printed) == 8
    assert sum(count or 0 for _, count in printed.values()) == 2_422_827
    assert all("captions" in CARDS[name].roles for name in printed)


def test_one_set_in_two_tables_is_one_card_with_both_counts():
    for name, counts in {
        "messidor": [1748, 1200],
        "stare": [20, 397],
        "breast-ultrasound-images-dataset": [647, 780],
    }.items():
        assert [row.count for row in CARDS[name].listed] == counts


def test_every_set_of_the_suite_can_be_read_and_names_are_unique():
    assert set(SUITE) | {"acrima"} <= set(READ)
    plain = {re.sub(r"\W", "", name) for name in CARDS}
    assert len(plain) == len(CARDS)


@pytest.mark.parametrize("name", sorted(READ))
def test_a_reading_names_one_modality_and_ct_is_shown_in_the_common_window(name):
    card = CARDS[name]
    reading = reading_of(card)
    window = parse_windowing(name, reading.windowing)
    volumes = reading.kind in {"dicom", "nifti"}
    if card.modalities == ["ct"] and volumes:
        assert window is not None
        assert (window.low, window.high, window.bias) == (-1000, 1000, 0)
    else:
        assert window is None


@pytest.mark.parametrize("name", sorted(n for n, c in READ.items() if c.reading.split))
def test_the_splits_of_a_card_are_those_that_its_paths_can_tell(name):
    (group,) = re.findall(r"\(\?P<split>([^)]*)\)", READ[name].reading.split)
    assert set(group.split("|")) == set(READ[name].splits)


PATHS = [
    # card, relative path, then label, patient and split; or None: not read
    ("ivygap-radiomics", "x/1_Images_SRI/C/W1/W1_1996/W1_t1.nii.gz", (None, "W1", None)),
    ("ivygap-radiomics", "x/3_Annotations_SRI/UPenn/W1/W1_labels.nii.gz", None),
    ("ivygap-radiomics", "x/1_Images_MNI/C/W1/W1_T1.nii.gz", None),
    ("monkeypox", "set/preprocessed_original_images/measles/a.JPG", ("measles", None, None)),
    ("monkeypox", "set/augmented_images/measles/aug_me_0001_0001.jpg", None),
    ("chestx-det", "train_data/00000042_006.png", (None, "00000042", "train")),
    ("chestx-det", "test_data/36199.png", (None, None, "test")),
    ("breast-ultrasound-images-dataset", "d/benign/benign (1).png", ("benign", None, None)),
    ("breast-ultrasound-images-dataset", "d/benign/benign (1)_mask_1.png", None),
    ("breast-ultrasound-images-dataset", "d/normal/normal (1).png", None),
    ("aapm-lowdose-ct", "3mm B30/full_3mm/L067/full_3mm/L067_FD_3.IMA", (None, "L067", None)),
    ("aapm-lowdose-ct", "3mm B30/quarter_3mm/L067/quarter_3mm/L067_QD_3.IMA", None),
    ("ddti", "DDTI/1_or_data/image/0000.PNG", (None, None, None)),
    ("ddti", "DDTI/1_or_data/mask/0000.PNG", None),
    ("btcv-cervix", "RawData/Training/img/0507688-Image.nii.gz", (None, "0507688", "Training")),
    ("btcv-cervix", "RawData/Training/label/0507688-Mask.nii.gz", None),
    ("hie2023", "T/1ADC_ss/MGHNICU_010-VISIT_01.nii.gz", (None, "MGHNICU_010", None)),
    ("hie2023", "T/3LABEL/MGHNICU_010-VISIT_01_lesion.nii.gz", None),
    ("digestpath19-cls", "sig-train-pos/a.jpeg", ("pos", None, None)),
    ("digestpath19-cls", "sig-train-pos/a.xml", None),
    ("silver07", "training-scans/liver-orig001.nii.gz", (None, "001", None)),
    ("silver07", "training-labels/liver-seg001.nii.gz", None),
    ("endocv2020-edd", "EDD2020/originalImages/EDD2020_A0001.jpg", (None, None, None)),
    ("endocv2020-edd", "EDD2020/masks/EDD2020_A0001_BE.tif", None),
    ("gleason", "Train_imgs/slide001_core003.jpg", (None, None, None)),
    ("gleason", "Maps1_T/slide001_core003.jpg", None),
    ("consep", "CoNSeP/Train/Images/train_1.png", (None, None, "Train")),
    ("consep", "CoNSeP/Train/Overlay/train_1.png", None),
    ("chase", "Image_01L.jpg", (None, "01", None)),
    ("chase", "Image_01L_1stHO.png", None),
    ("covidgr", "raw/P/00b05a.jpg", ("P", None, None)),
    ("stare", "stare-images/im0001.ppm", (None, None, None)),
    ("stare", "labels-ah/im0001.ah.ppm", None),
    ("acrima", "Database/Images/Im686_g_ACRIMA.jpg", ("g_ACRIMA", None, None)),
    ("acrima", "Database/Images/Im001_ACRIMA.jpg", ("ACRIMA", None, None)),
    ("oct2017", "OCT2017/train/CNV/CNV-1016042-1.jpeg", ("CNV", "1016042", "train")),
    (
        "chestxray-2017",
        "chest_xray/test/NORMAL/IM-0001-0001.jpeg",
        ("NORMAL", "IM-0001", "test"),
    ),
    (
        "chestxray-2017",
        "chest_xray/train/PNEUMONIA/person7_bacteria_24.jpeg",
        ("PNEUMONIA", "person7", "train"),
    ),
    (
        "mura",
        "MURA-v1.1/valid/XR_WRIST/patient11185/study1_positive/image1.png",
        ("positive", "patient11185", "valid"),
    ),
    (
        "chexpert",
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg",
        (None, "patient00001", "train"),
    ),
    ("chaos-ct", "Train_Sets/CT/1/DICOM_anon/i0000,0000b.dcm", (None, "1", None)),
    ("chaos-ct", "Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-1.dcm", None),
    ("acdc", "training/patient001/patient001_frame01.nii.gz", (None, "patient001", "training")),
    ("acdc", "training/patient001/patient001_frame01_gt.nii.gz", None),
    ("acdc", "training/patient001/patient001_4d.nii.gz", None),
    ("glas", "Warwick QU/testA_1.bmp", (None, None, "testA")),
    ("glas", "Warwick QU/testA_1_anno.bmp", None),
    (
        "monu",
        "MoNuSeg 2018 Training Data/Tissue Images/TCGA-18-5592-01Z-00-DX1.tif",
        (None, "TCGA-18-5592", "Training"),
    ),
    ("monu", "MoNuSegTestData/TCGA-2Z-A9J9-01A-01-TS1.tif", (None, "TCGA-2Z-A9J9", "Test")),
    ("hrf", "images/01_dr.JPG", ("dr", "01_dr", None)),
    ("hrf", "mask/01_dr_mask.tif", None),
    ("drive", "DRIVE/test/images/01_test.tif", (None, "01", "test")),
    ("drive", "DRIVE/test/mask/01_test_mask.gif", None),
    ("eyepacs", "train/10_left.jpeg", (None, "10", "train")),
    ("refuge", "Training400/Glaucoma/g0001.jpg", (None, None, "Training")),
    ("drishti-gs", "D/Training/Images/drishtiGS_002.png", (None, None, "Training")),
    ("isic2019", "ISIC_2019_Test_Input/ISIC_0034321.jpg", (None, None, "Test")),
    ("tnbc", "TNBC/Slide_01/01_1.png", (None, "01", None)),
    ("tnbc", "TNBC/GT_01/01_1.png", None),
    ("mimic-cxr", "files/p10/p10000032/s50414267/a.jpg", (None, "p10000032", None)),
]


@pytest.mark.parametrize(("name", "path", "expected"), PATHS, ids=lambda value: str(value)[:60])
def test_a_reading_takes_images_and_tells_label_patient_and_split_from_the_path(
    name, path, expected
):
    reading = reading_of(CARDS[name])
    taken = glob_matches(path, reading.include) and not glob_matches(path, reading.exclude)
    assert taken == (expected is not None)
    if expected is None:
        return
    found = []
    for group in ("label", "patient", "split"):
        expression = getattr(reading, group)
        match = re.search(expression, path) if expression else None
        found.append(match.group(group) if match else None)
    assert tuple(found) == expected


@pytest.mark.parametrize("modalities", [[], ["ct", "mri"]])
def test_a_reading_without_exactly_one_modality_is_refused(modalities):
    card = CARDS["chaos-ct"].model_copy(update={"modalities": modalities})
    with pytest.raises(UsageError, match=rf"names {len(modalities)} modalities"):
        reading_of(card)


def test_a_card_of_facts_is_not_read_and_says_how_to_go_on():
    with pytest.raises(UsageError, match=r"cifar100: its card states facts only"):
        reading_of(CARDS["cifar100"])


def test_the_schema_is_closed():
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Card.model_validate(CARDS["chase"].model_dump() | {"license": "CC BY 4.0"})
