from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.card import packaged_card
from medbench.harness.datasets.images import decode_file
from medbench.harness.datasets.store import ingest
from medbench.harness.datasets.vqa_rad import FILE, IMAGES, build
from medbench.harness.errors import MissingPrerequisite, UsageError


def row(number, **changed):
    made = {
        "qid": number,
        "phrase_type": "test_freeform" if number % 2 else "freeform",
        "image_name": f"synpic{number // 3}.jpg",
        "image_organ": ("HEAD", "CHEST", "ABD ")[number // 3 % 3],
        "question": f"Is there a finding {number}?",
        "answer": "Yes",
        "answer_type": "CLOSED",
        "question_type": "PRES",
    }
    return made | changed


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    return tmp_path


def write(root, rows, images=4):
    folder = root / "vqa-rad"
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        shade = Image.new("L", (40, 30), 40 * number + 20)
        shade.save(folder / IMAGES / f"synpic{number}.jpg")
    (folder / FILE).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return folder / FILE


def make(root, variant="test"):
    return build(f"vqa-rad@{variant}", argument="", variant=variant, data_root=root)


def test_the_test_part_is_told_by_the_phrase_type(root):
    rows = [
        row(0, phrase_type="freeform"),
        row(1, phrase_type="test_freeform"),
        row(2, phrase_type="para"),
        row(3, phrase_type="test_para"),
    ]
    write(root, rows)
    for variant, ids in (("test", "13"), ("train", "02"), ("all", "0123"), ("", "13")):
        dataset = make(root, variant)
        assert [question.id for question in dataset.questions()] == list(ids)
        assert dataset.id == f"vqa-rad@{variant or 'test'}"


def test_answers_are_untouched_and_odd_fields_are_read(root):
    rows = [
        row(1, answer=" Left  lobe, ", answer_type="OPEN"),
        row(3, answer=4, answer_type="OPEN", question_type="COUNT"),
        row(5, answer="no", answer_type="CLOSED "),
        row(7, answer=5.6, answer_type="OPEN", question_type=None),
    ]
    write(root, rows)
    asked = make(root).questions()
    assert [question.answer for question in asked] == [" Left  lobe, ", "4", "no", "5.6"]
    assert [question.kind for question in asked] == ["open", "open", "closed", "open"]
    assert [question.topic for question in asked] == ["PRES", "COUNT", "PRES", None]
    assert {question.language for question in asked} == {"en"}


def test_images_are_items_once_each_with_their_organ_as_label(root):
    write(root, [row(number) for number in range(12)])
    dataset = make(root, "all")
    items = dataset.items()
    assert [item.id for item in items] == [f"synpic{number}.jpg" for number in range(4)]
    assert [item.label for item in items] == ["head", "chest", "abdomen", "head"]
    assert {item.group for item in items} == {"vqa-rad@all"}
    assert {item.patient for item in items} == {None}
    assert Counter(q.image_id for q in dataset.questions()) == {item.id: 3 for item in items}
    assert np.abs(items[2].load().rgb.astype(int) - 100).max() <= 2


def test_missing_images_fail_and_their_questions_stay(root):
    write(root, [row(number) for number in range(12)], images=3)
    dataset = make(root, "all")
    assert len(dataset.questions()) == 12
    expected = "found 3 of 4 images; 3 of 12 questions have no image"
    assert dataset.card.known_problems[1] == expected
    store = ingest(dataset)
    assert [stored.id for stored in store.rows] == [f"synpic{number}.jpg" for number in range(3)]
    [failure] = store.failures
    assert "synpic3.jpg is missing" in failure.reason
    assert f"{FILE}: row 10 asks about it" in failure.reason


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../b.png", "..\\c.png"])
def test_an_image_name_that_leaves_the_folder_is_not_followed(root, name):
    Image.new("L", (20, 20), 99).save(root / "secret.png")
    path = write(root, [row(1), row(3, image_name=name)])
    items = make(root).items()
    items[0].load()
    with pytest.raises(UsageError, match="leaves the image folder") as caught:
        items[1].load()
    assert f"{path}: row 2" in str(caught.value)
    assert items[1].content_key() == ["absent"]


def test_a_partial_file_is_refused_with_the_counts_unless_allowed(root, monkeypatch):
    path = write(root, [row(number) for number in range(12)])
    [mark, *_] = make(root).card.known_problems
    assert mark.startswith("modified file: ")
    assert "train has 6 questions, the official file has 1,797" in mark
    assert "test has 6 questions, the official file has 451" in mark
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    with pytest.raises(UsageError, match="is not the official file") as caught:
        make(root)
    assert str(caught.value).startswith(str(path))


def test_a_file_of_the_official_counts_needs_no_permission_and_is_not_marked(root, monkeypatch):
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    train = [row(number, phrase_type="para") for number in range(1797)]
    test = [row(number, phrase_type="test_para") for number in range(1797, 2248)]
    write(root, train + test, images=0)
    dataset = make(root)
    assert len(dataset.questions()) == 451
    assert not any("modified" in problem for problem in dataset.card.known_problems)


DEFECTS = {
    "duplicate id": (row(1), "qid 1 occurred before"),
    "unknown part": (row(9, phrase_type="dev"), "phrase_type is 'dev', expected one of freeform"),
    "unknown kind": (row(9, answer_type="BOTH"), "answer_type is 'BOTH'"),
    "no answer": (row(9, answer=None), "answer is None, expected a text"),
    "blank question": (row(9, question=" "), "question is ' ', expected a text"),
    "a truth value": (row(9, answer=True), "answer is True, expected a text"),
    "no image": ({"qid": 9}, "image_name is None"),
}


@pytest.mark.parametrize("case", DEFECTS, ids=str)
def test_a_row_that_cannot_be_used_is_named_and_the_others_stay(root, monkeypatch, case):
    bad, reason = DEFECTS[case]
    write(root, [row(1), bad, row(3)])
    dataset = make(root)
    assert [question.id for question in dataset.questions()] == ["1", "3"]
    assert f"row 2 left out: {reason}" in dataset.card.known_problems[0]
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    with pytest.raises(UsageError, match="row 2 left out"):
        make(root)


def test_broken_json_names_the_line(root):
    path = write(root, [row(1), row(3)])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[14] = lines[14].replace(",", "")
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{FILE}: line 16: not valid JSON"):
        make(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: not valid JSON here .a list of objects must begin"),
        ('{"qid": 1}', "a list of objects must begin here"),
        ('[{"qid": 1},\n {"qid": 2', "line 2: not valid JSON"),
        ("[1, 2]", "an object must begin here"),
        ('[{"qid": 1} {"qid": 2}]', "a comma or the list's end is missing"),
        ('[{"qid": 1}]\n]', "line 2: not valid JSON here .text follows the list"),
        ("[]", "has no usable test question"),
    ],
)
def test_another_form_of_file_is_refused(root, text, message):
    path = write(root, [])
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        make(root)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(root):
    write(root, []).write_bytes(b'[{"qid": "\xff\xfe"}]')
    with pytest.raises(UsageError, match=r"cannot be read \('utf-8' codec"):
        make(root)


def test_a_pick_is_per_kind_and_a_smaller_one_is_part_of_a_larger(root):
    kinds = ["CLOSED", "OPEN"]
    write(root, [row(2 * n + 1, answer_type=kinds[n % 2]) for n in range(6)])
    dataset = make(root)
    two = dataset.questions(limit=2)
    assert Counter(question.kind for question in two) == {"closed": 2, "open": 2}
    assert set(dataset.questions(limit=1)) < set(two)


def test_an_absent_set_says_how_to_get_it_and_a_folder_can_be_named(root):
    with pytest.raises(MissingPrerequisite, match=r"osf|VQA_RAD Dataset Public\.json"):
        make(root)
    write(root / "elsewhere", [row(1)])
    place = str(root / "elsewhere" / "vqa-rad")
    assert len(build("vqa-rad", argument=place, data_root=None).questions()) == 1
    with pytest.raises(UsageError, match="splits: test"):
        make(root, "val")


def test_the_card_says_what_the_file_has():
    card = packaged_card("vqa-rad")
    assert card.splits == {"train": 1797, "test": 451}
    assert 1797 + 451 + 1267 == 3515
    assert card.licence == "CC0 1.0"


def test_the_real_copy_is_refused_by_default_and_has_its_counts_when_allowed(
    real_data, monkeypatch
):
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED", raising=False)
    with pytest.raises(UsageError, match="test has 91 questions, the official file has 451"):
        make(real_data)
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    folder = real_data / "vqa" / "vqa_rad"
    by_hand = json.loads((folder / FILE).read_text(encoding="utf-8"))
    for variant, images, count in (("test", 37, 91), ("train", 60, 338), ("all", 60, 429)):
        dataset = make(real_data, variant)
        assert (len(dataset.items()), len(dataset.questions())) == (images, count)
        assert not any(problem.startswith("found") for problem in dataset.card.known_problems)
    asked = dataset.questions()
    assert [question.answer for question in asked] == [str(each["answer"]) for each in by_hand]
    assert Counter(question.kind for question in asked) == {"closed": 256, "open": 173}
    for item in dataset.items():
        np.testing.assert_array_equal(item.load().rgb, decode_file(folder / IMAGES / item.id).rgb)


def test_the_other_part_can_be_opened(root):
    write(root, [row(number) for number in range(8)])
    assert make(root).part("train").questions() == make(root, "train").questions()
