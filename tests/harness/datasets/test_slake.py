from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.slake import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError


def row(number, **changed):
    image = number // 2
    made = {
        "img_id": image,
        "img_name": f"xmlab{image}/source.jpg",
        "question": f"Which organ {number}?" if number % 2 else f"哪个器官 {number}?",
        "answer": "Liver" if number % 2 else "肝脏",
        "q_lang": "en" if number % 2 else "zh",
        "location": "Abdomen",
        "modality": ("CT", "MRI", "X-Ray")[image % 3],
        "answer_type": "OPEN" if number % 3 else "CLOSED",
        "qid": 1000 + number,
        "content_type": "Organ",
    }
    return made | changed


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    return tmp_path


def write(root, rows, images=3, file="test.json"):
    folder = root / "slake" / "Slake1.0"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        place = folder / "imgs" / f"xmlab{number}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (40 * number + 20, 0, 0)).save(place / "source.jpg")
    (folder / file).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder / file


def make(root, variant="test"):
    return build(f"slake@{variant}", argument="", variant=variant, data_root=root)


def test_both_languages_are_read_and_each_can_be_chosen(root):
    write(root, [row(number) for number in range(6)])
    asked = make(root).questions()
    assert [question.language for question in asked] == ["zh", "en"] * 3
    assert asked[0].answer == "肝脏"
    for language in ("en", "zh"):
        part = make(root, f"test-{language}")
        assert part.id == f"slake@test-{language}"
        assert part.questions() == [q for q in asked if q.language == language]


def test_images_are_grouped_under_the_stated_modality(root):
    write(root, [row(number) for number in range(6)])
    dataset = make(root)
    assert [item.group for item in dataset.items()] == ["ct", "mri", "xray"]
    assert [item.id for item in dataset.items()] == [f"xmlab{n}/source.jpg" for n in range(3)]
    assert {question.topic for question in dataset.questions()} == {"Organ"}
    kinds = ["closed", "open", "open"] * 2
    assert [question.kind for question in dataset.questions()] == kinds


@pytest.mark.parametrize(
    ("variant", "file"), [("train", "train.json"), ("val", "validate.json"), ("test", "test.json")]
)
def test_each_split_has_its_own_file(root, variant, file):
    write(root, [row(7)], file=file)
    assert make(root, variant).split == variant
    other = "val" if variant != "val" else "test"
    with pytest.raises(MissingPrerequisite, match=r"Slake1\.0\.zip"):
        make(root, other)


@pytest.mark.parametrize(("variant", "count"), [("train", 9835), ("val", 2099), ("test", 2094)])
def test_official_counts_need_no_permission_and_one_question_less_does(
    root, monkeypatch, variant, count
):
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    file = {"train": "train.json", "val": "validate.json", "test": "test.json"}[variant]
    rows = [row(0, qid=number) for number in range(count)]
    write(root, rows, images=1, file=file)
    dataset = make(root, variant)
    assert len(dataset.questions()) == count
    assert not any("modified" in problem for problem in dataset.card.known_problems)
    write(root, rows[:-1], images=1, file=file)
    said = f"{variant} has {count - 1:,} questions, the official file has {count:,}"
    with pytest.raises(UsageError, match=said):
        make(root, variant)


def test_missing_images_fail_and_their_questions_stay(root):
    write(root, [row(number) for number in range(6)], images=1)
    dataset = make(root)
    assert len(dataset.questions()) == 6
    assert "found 1 of 3 images; 4 of 6 questions have no image" in dataset.card.known_problems
    store = ingest(dataset)
    assert [stored.id for stored in store.rows] == ["xmlab0/source.jpg"]
    assert len(store.failures) == 2


@pytest.mark.parametrize("name", ["../../../secret.png", "/etc/hostname", "xmlab0/../../x.jpg"])
def test_an_image_name_that_leaves_the_folder_is_not_followed(root, name):
    Image.new("L", (20, 20), 99).save(root / "secret.png")
    path = write(root, [row(0), row(1, img_name=name)])
    items = make(root).items()
    items[0].load()
    with pytest.raises(UsageError, match="leaves the image folder") as caught:
        items[1].load()
    assert f"{path}: row 2" in str(caught.value)


DEFECTS = {
    "duplicate id": (row(2, qid=1000), "qid 1000 occurred before"),
    "language": (row(2, q_lang="fr"), "q_lang is 'fr', expected one of en, zh"),
    "modality": (row(2, modality="PET"), "modality is 'PET', expected one of CT, MRI, X-Ray"),
    "two modalities": (row(1, modality="MRI"), r"xmlab0/source.jpg is mri, and was ct before"),
    "kind": (row(2, answer_type=""), "answer_type is '', expected a text"),
}


@pytest.mark.parametrize("case", DEFECTS, ids=str)
def test_a_row_that_cannot_be_used_is_named_and_the_others_stay(root, case):
    bad, reason = DEFECTS[case]
    write(root, [row(0), bad, row(5)])
    dataset = make(root)
    assert [question.id for question in dataset.questions()] == ["1000", "1005"]
    assert f"row 2 left out: {reason}" in dataset.card.known_problems[0]


def test_a_file_that_is_cut_off_names_the_line(root):
    path = write(root, [row(number) for number in range(4)])
    text = path.read_text(encoding="utf-8").replace("}, {", "},\n{")
    path.write_text(text[:-30], encoding="utf-8")
    with pytest.raises(UsageError, match=r"test\.json: line 4: not valid JSON"):
        make(root)


@pytest.mark.parametrize("variant", ["dev", "test-fr", "en"])
def test_an_unknown_part_is_refused(root, variant):
    with pytest.raises(UsageError, match="splits are train, val, test"):
        make(root, variant)


def test_the_real_test_file_is_official_and_has_one_image(real_data, monkeypatch):
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED", raising=False)
    dataset = make(real_data)
    folder = real_data / "vqa" / "slake" / "Slake1.0"
    by_hand = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    asked = dataset.questions()
    assert [(q.question, q.answer) for q in asked] == [
        (each["question"], each["answer"]) for each in by_hand
    ]
    assert Counter(q.language for q in asked) == {"en": 1061, "zh": 1033}
    assert Counter(q.kind for q in asked) == {"open": 1258, "closed": 836}
    found = "found 1 of 180 images; 2,083 of 2,094 questions have no image"
    assert dataset.card.known_problems[0] == found
    store = ingest(dataset)
    assert [stored.id for stored in store.rows] == ["xmlab102/source.jpg"]
    assert len(store.failures) == 179
    with_image = json.loads((folder / "test_with_images.json").read_text(encoding="utf-8"))
    own = [q.id for q in asked if q.image_id == "xmlab102/source.jpg"]
    assert own == [str(each["qid"]) for each in with_image]
    languages = {
        language: {q.image_id for q in make(real_data, f"test-{language}").questions()}
        for language in ("en", "zh")
    }
    assert [len(images) for images in languages.values()] == [96, 96]
    assert len(languages["en"] & languages["zh"]) == 12
    item = next(item for item in dataset.items() if item.id == "xmlab102/source.jpg")
    with Image.open(folder / "imgs" / "xmlab102" / "source.jpg") as image:
        np.testing.assert_array_equal(item.load().rgb, np.asarray(image.convert("RGB")))


def test_a_part_is_of_the_same_language_and_its_label_is_the_organ(root):
    write(root, [row(number) for number in range(6)])
    write(root, [row(number) for number in range(4)], file="train.json")
    part = make(root, "test-en").part("train")
    assert part.id == "slake@train-en"
    assert part.questions() == make(root, "train-en").questions()
    assert {item.label for item in part.items()} == {"Abdomen"}
    with pytest.raises(UsageError, match="no part 'nothing-en'"):
        make(root, "test-en").part("nothing")
