from __future__ import annotations

import json
import tracemalloc

import pytest
from PIL import Image

from medbench.harness.datasets import json_rows
from medbench.harness.datasets.card import packaged_card
from medbench.harness.datasets.json_rows import iter_json_rows
from medbench.harness.datasets.pubmedvision import FILES, build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError


def row(number, **changed):
    made = {
        "image": [f"images/pmc_{number}_0.jpg"],
        "conversations": [
            {"from": "human", "value": f"What does image {number} show?"},
            {"from": "gpt", "value": f"A lesion, {number} mm."},
        ],
        "modality": "Computed Tomography",
        "body_part": "Chest",
        "id": f"pmc_{number}",
    }
    return made | changed


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    return tmp_path


def write(root, rows, images=3, variant="alignment"):
    folder = root / "pubmedvision"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(images):
        Image.new("L", (20, 20), 50 + number).save(folder / "images" / f"pmc_{number}_0.jpg")
    (folder / FILES[variant]).write_text(json.dumps(rows), encoding="utf-8")
    return folder / FILES[variant]


def make(root, variant="alignment"):
    return build(f"pubmedvision@{variant}", argument="", variant=variant, data_root=root)


@pytest.mark.parametrize("variant", FILES)
def test_rows_become_captioned_images_and_questions(root, variant):
    write(root, [row(number) for number in range(3)], variant=variant)
    dataset = make(root, variant)
    items, asked = dataset.items(), dataset.questions()
    assert [item.caption for item in items] == [f"A lesion, {number} mm." for number in range(3)]
    assert [question.answer for question in asked] == [item.caption for item in items]
    assert [question.image_id for question in asked] == [item.id for item in items]
    assert {(q.kind, q.language, q.topic) for q in asked} == {("open", "en", "Chest")}
    assert asked[1].question == "What does image 1 show?"
    assert len(ingest(dataset)) == 3


def test_stated_modalities_group_the_images_and_others_form_one_group(root):
    words = ["Computed Tomography", "X-Ray", "Digital Photography", None, "microscopy images"]
    write(root, [row(number, modality=word) for number, word in enumerate(words)])
    own = "pubmedvision@alignment"
    groups = [item.group for item in make(root).items()]
    assert groups == ["ct", "xray", own, own, "microscopy"]


def test_rows_about_several_images_give_images_and_no_question(root):
    write(root, [row(0), row(1, image=["images/pmc_1_0.jpg", "images/pmc_2_0.jpg"])])
    dataset = make(root)
    assert len(dataset.items()) == 3
    assert [item.caption for item in dataset.items()][1:] == [None, None]
    assert [question.id for question in dataset.questions()] == ["pmc_0"]
    expected = "1 rows ask about several images at once; they give no question."
    assert expected in dataset.card.known_problems


def test_a_longer_conversation_gives_several_questions_and_the_first_caption(root):
    turns = [*row(0)["conversations"], {"from": "human", "value": "Where?"}]
    write(root, [row(0, conversations=[*turns, {"from": "gpt", "value": "Left."}])])
    dataset = make(root)
    assert [(q.id, q.answer) for q in dataset.questions()] == [
        ("pmc_0#0", "A lesion, 0 mm."),
        ("pmc_0#1", "Left."),
    ]
    assert dataset.items()[0].caption == "A lesion, 0 mm."


DEFECTS = {
    "duplicate id": (row(1, id="pmc_0"), "id pmc_0 occurred before"),
    "no image": (row(1, image=[]), "image is [], expected a list of file names"),
    "no answer": (row(1, conversations=row(1)["conversations"][:1]), "conversations is not a list"),
    "speakers": (row(1, conversations=row(1)["conversations"][::-1]), "speakers are ['gpt', 'hu"),
}


@pytest.mark.parametrize("case", DEFECTS, ids=str)
def test_a_row_that_cannot_be_used_is_named_and_the_others_stay(root, case):
    bad, reason = DEFECTS[case]
    write(root, [row(0), bad, row(2)])
    dataset = make(root)
    assert [question.id for question in dataset.questions()] == ["pmc_0", "pmc_2"]
    assert f"row 2 left out: {reason}" in dataset.card.known_problems[0]


def test_missing_images_and_names_that_leave_the_folder_fail_alone(root):
    write(root, [row(0), row(1, image="../secret.jpg"), row(2)], images=1)
    dataset = make(root)
    assert "found 1 of 3 images; 2 of 3 questions have no image" in dataset.card.known_problems
    store = ingest(dataset)
    assert len(store) == 1
    assert "leaves the image folder" in store.failures[0].reason
    assert "is missing" in store.failures[1].reason


def test_counts_are_checked_and_a_list_must_be_chosen(root, monkeypatch):
    write(root, [row(0)])
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED")
    with pytest.raises(UsageError, match="alignment has 1 rows, the official file has 647,031"):
        make(root)
    with pytest.raises(UsageError, match="say which list: pubmedvision@alignment"):
        make(root, "")
    with pytest.raises(MissingPrerequisite, match=r"images_0\.zip"):
        make(root, "instruction")
    assert packaged_card("pubmedvision").layout == "unverified"


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_rows_are_the_same_as_a_whole_parse_gives_at_any_chunk(
    tmp_path, monkeypatch, chunk, indent
):
    monkeypatch.setattr(json_rows, "_CHUNK", chunk)
    rows = [row(n, text='quotes " } ] [ { \\ and 漢字\n', nested={"a": [{}]}) for n in range(9)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8-sig")
    assert list(iter_json_rows(path)) == rows


@pytest.mark.parametrize("chunk", [5, 1 << 20])
def test_rows_before_the_damage_are_given_and_its_line_is_right_at_any_chunk(
    tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr(json_rows, "_CHUNK", chunk)
    path = tmp_path / "rows.json"
    path.write_text('[\n{"a": 1},\n\n{"a": 2},\n{"a" 3}]', encoding="utf-8")
    seen = []
    with pytest.raises(UsageError, match=r"rows\.json: line 5: not valid JSON"):
        for each in iter_json_rows(path):
            seen.append(each)  # noqa: PERF402 (what was given before the error counts)
    assert seen == [{"a": 1}, {"a": 2}]


def test_an_object_without_an_end_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "_CHUNK", 100)
    monkeypatch.setattr(json_rows, "_LARGEST", 1000)
    path = tmp_path / "rows.json"
    path.write_text('[{"a": "' + "x" * 100_000, encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(UsageError, match="line 1: not valid JSON"):
        list(iter_json_rows(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000
