"""medsynth as a data set: everything that an item carries, and its questions, without rendering."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medbench.harness.datasets import medsynth, synthetic
from medbench.harness.datasets.card import packaged_card
from medbench.harness.vocabulary import MODALITIES as VOCABULARY

SPLITS = ("train", "val", "test")


def build(split: str = "test") -> synthetic.SyntheticDataset:
    return synthetic.build(f"medsynth@{split}", argument="", variant=split)


@pytest.fixture
def no_rendering(monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        message = f"rendered {arguments} {options}"
        raise AssertionError(message)

    monkeypatch.setattr(medsynth, "generate", refuse)


def test_the_card_counts_images_of_all_nine_modalities():
    card = packaged_card("medsynth")
    assert set(card.modalities) == set(medsynth.MODALITIES) == set(VOCABULARY)
    assert card.splits == {"train": 9 * 2000, "val": 9 * 100, "test": 9 * 200}
    assert {"recon", "probe", "synthesis", "vqa", "captions"} <= set(card.roles)


def test_splits_end_with_complete_patients():
    for split, total in packaged_card("medsynth").splits.items():
        per_group = total // 9
        last = medsynth.describe("ct", per_group - 1, split=split).patient
        assert medsynth.describe("ct", per_group, split=split).patient != last


def test_items_carry_label_patient_caption_and_modality(no_rendering):
    items = build("val").items()
    assert Counter(item.group for item in items) == dict.fromkeys(medsynth.MODALITIES, 100)
    assert len({item.id for item in items}) == len(items)
    for item in items[::7]:
        _, modality, index = item.id.split("/")
        told = medsynth.describe(modality, int(index), split="val")
        assert (item.label, item.patient, item.caption) == (told.label, told.patient, told.caption)
        assert item.label in medsynth.CLASSES[modality]


def test_splits_share_no_patient_and_no_item():
    ids, patients = Counter(), Counter()
    for split in SPLITS:
        items = build(split).items(limit=30)
        ids.update(item.id for item in items)
        patients.update({item.patient for item in items})
    assert set(ids.values()) == {1}
    assert set(patients.values()) == {1}


def test_image_mask_and_texts_belong_together():
    item = next(item for item in build().items(limit=20) if item.label == "tumour")
    _, modality, index = item.id.split("/")
    sample = medsynth.generate(modality, int(index))
    np.testing.assert_array_equal(item.load().rgb, sample.image)
    assert item.load_mask is not None
    np.testing.assert_array_equal(item.load_mask(), sample.mask)
    assert item.caption == sample.caption


def test_a_smaller_limit_takes_a_subset(no_rendering):
    ids = [[item.id for item in build().items(limit)] for limit in (3, 5)]
    assert set(ids[0]) < set(ids[1])
    assert len(ids[0]) == 27


def test_questions_are_about_the_items_and_render_nothing(no_rendering):
    dataset = build("val")
    questions = dataset.questions()
    items = {item.id for item in dataset.items()}
    about = Counter(question.image_id for question in questions)
    assert set(about) == items
    assert min(about.values()) >= 4
    assert max(about.values()) <= 6
    assert len({question.id for question in questions}) == len(questions)
    assert {question.language for question in questions} == {"en"}
    assert all(question.topic for question in questions)


def test_a_limit_picks_that_many_questions_of_each_kind(no_rendering):
    dataset = build("val")
    few, more = dataset.questions(20), dataset.questions(50)
    assert Counter(question.kind for question in few) == {"open": 20, "closed": 20}
    assert {question.id for question in few} < {question.id for question in more}
    assert len({question.image_id.split("/")[1] for question in more}) >= 8


def test_questions_about_some_images_are_those_of_all_that_ask_about_them(no_rendering):
    dataset = build("val")
    images = {"val/ct/00003", "val/xray/00000"}
    expected = [q for q in dataset.questions() if q.image_id in images]
    assert dataset.questions_about(images) == expected
    assert expected
