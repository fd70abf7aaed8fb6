"""Questions: answers agree with the state and with the pixels, and texts alone do not tell them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import (
    CLASSES,
    MODALITIES,
    Asked,
    Sample,
    ct,
    generate,
)
from medbench.harness.datasets.medsynth.canvas import make_canvas
from medbench.harness.datasets.medsynth.questions_topics import MODALITY_ANSWERS, ORGAN_ANSWERS


@pytest.fixture(scope="module")
def training(described):
    return {modality: described(modality, "train") for modality in MODALITIES}


@pytest.fixture(scope="module")
def testing(described):
    return {modality: described(modality, "test") for modality in MODALITIES}


def told_value(asked: Asked, value: str) -> bool:
    """Whether the answer is right if `value` is the truth."""
    if asked.answer in ("yes", "no") and value not in ("yes", "no"):
        return (asked.answer == "yes") == (value in asked.question)
    return asked.answer == value


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_image_has_four_to_six_questions_open_and_closed(modality, testing):
    for told in testing[modality]:
        assert 4 <= len(told.questions) <= 6
        assert {asked.kind for asked in told.questions} == {"open", "closed"}
        assert len({asked.question for asked in told.questions}) == len(told.questions)
        for asked in told.questions:
            assert asked.question.endswith(("?", "."))
            assert "{" not in asked.question
            assert "_" not in asked.question + asked.answer


def test_yes_and_no_are_equally_frequent(testing):
    answers = Counter(
        asked.answer for told in testing.values() for each in told for asked in each.questions
    )
    assert answers["yes"] / (answers["yes"] + answers["no"]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("kind", "ceiling"), [("closed", 0.55), ("open", 0.3)])
def test_the_most_frequent_answer_to_a_text_is_seldom_right(kind, ceiling, training, testing):
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for told in training.values():
        for each in told:
            for asked in each.questions:
                votes[asked.question][asked.answer] += 1
    hits = [
        asked.question in votes and votes[asked.question].most_common(1)[0][0] == asked.answer
        for told in testing.values() for each in told for asked in each.questions
        if asked.kind == kind
    ]  # fmt: skip
    assert len(hits) > 4000
    assert np.mean(hits) < ceiling


def test_no_topic_has_a_favourite_answer_among_closed_questions(training):
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for told in training.values():
        for each in told:
            for asked in each.questions:
                if asked.answer in ("yes", "no"):
                    answers[asked.topic][asked.answer] += 1
    for topic, count in answers.items():
        # Answers of one patient go together: half as many independent ones.
        tolerance = 4 * np.sqrt(0.25 / (count.total() / 2))
        assert count["yes"] / count.total() == pytest.approx(0.5, abs=tolerance), topic


@pytest.mark.parametrize("modality", MODALITIES)
def test_answers_agree_with_the_state(modality, testing):
    truths = {
        "modality": lambda s: MODALITY_ANSWERS[modality],
        "organ": lambda s: ORGAN_ANSWERS[modality],
        "finding": lambda s: s["label"].replace("_", " "),
        "grade": lambda s: s["grade"],
        "side": lambda s: s["side"],
        "height": lambda s: "upper" if s["y"] < 0.5 else "lower",
        "quadrant": lambda s: f"{'upper' if s['y'] < 0.5 else 'lower'} {s['side']}",
        "contrast": lambda s: "yes" if s["enhancement"] >= 120 else "no",
        "ruler": lambda s: "yes" if s["ruler"] else "no",
        "hairs": lambda s: "yes" if s["hairs"] else "no",
        "view": lambda s: "yes" if s["view"] == "tube" else "no",
        "eye": lambda s: s["eye"],
        "leukocyte": lambda s: s["leukocyte"],
        "plane": lambda s: s["orientation"],
        "weighting": lambda s: s["contrast"].upper(),
        "probe": lambda s: "yes" if s["probe"] == "convex" else "no",
        "lines": lambda s: "yes" if s["wires"] else "no",
        "marker": lambda s: s["marker"],
    }
    topics = set()
    for told in testing[modality]:
        for asked in told.questions:
            topics.add(asked.topic)
            truth = truths[asked.topic](told.state)
            if asked.topic == "marker" and asked.kind == "closed" and asked.answer in ("yes", "no"):
                assert (asked.answer == "yes") == asked.question.endswith(f"{truth}?")
            else:
                assert told_value(asked, truth), asked
    assert {"modality", "finding", "side", "grade"} <= topics


def test_a_finding_that_is_not_there_is_neither_placed_nor_graded(testing):
    for told in testing.values():
        for each in told:
            topics = {asked.topic for asked in each.questions}
            if not each.state["present"]:
                assert not topics & {"side", "height", "quadrant", "grade"}
            if each.label == "cardiomegaly":
                assert not topics & {"side", "grade"}


def centre(sample: Sample) -> tuple[float, float]:
    rows, columns = np.nonzero(sample.mask)
    side = sample.mask.shape[0]
    return (columns.mean() + 0.5) / side, (rows.mean() + 0.5) / side


def check_pixels(sample: Sample) -> int:
    """Compare all placed and presence answers with the mask; how many there were."""
    checked = 0
    for asked in sample.questions:
        if asked.topic == "finding" and asked.kind == "open":
            assert sample.mask.any() == (asked.answer != "normal")
            checked += 1
        if asked.topic not in ("side", "height", "quadrant"):
            continue
        x, y = centre(sample)
        across, down = "left" if x < 0.5 else "right", "upper" if y < 0.5 else "lower"
        truth = {"side": across, "height": down, "quadrant": f"{down} {across}"}[asked.topic]
        assert told_value(asked, truth), (asked, sample.label, x, y)
        checked += 1
    return checked


@pytest.mark.parametrize("modality", MODALITIES)
def test_answers_agree_with_the_mask(modality, rendered):
    assert sum(check_pixels(sample) for sample in rendered(modality)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_answers_agree_with_the_mask_over_hundreds_of_images(modality):
    samples = [generate(modality, index, split="train", size=128) for index in range(100)]
    assert sum(check_pixels(sample) for sample in samples) >= 120


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_graver_findings_of_a_class_cover_more_pixels(modality):
    samples = [generate(modality, index, split="train", size=128) for index in range(120)]
    for label in set(CLASSES[modality][1:]) - {"cardiomegaly"}:
        areas = {
            grade: [
                sample.mask.mean() for sample in samples
                if sample.label == label and sample.state["grade"] == grade
            ]
            for grade in ("mild", "severe")
        }  # fmt: skip
        larger = [severe > mild for severe in areas["severe"] for mild in areas["mild"]]
        assert np.mean(larger) > 0.85, label


def test_views_can_be_told_from_pixels(rendered):
    for sample in rendered("ultrasound"):
        corner = sample.image[10:30, 15:40].mean()
        assert (corner < 10) == (sample.state["probe"] == "convex")
    for sample in rendered("fundus"):
        disc, row = (int(256 * sample.state[name]) for name in ("disc_x", "disc_y"))
        at_disc, opposite = (
            sample.image[row - 5 : row + 6, column - 5 : column + 6].mean()
            for column in (disc, 255 - disc)
        )
        assert at_disc > opposite
        assert (disc > 128) == (sample.state["eye"] == "right")


def test_the_weakest_contrast_that_is_asked_about_brightens_vessels():
    for seed in range(4):
        state = ct.draw_state(np.random.default_rng(seed))
        plain, enhanced = (
            ct.render(
                replace(state, enhancement=units), make_canvas(256, np.random.default_rng(seed))
            ).pixels
            for units in (0.0, 120.0)
        )
        # A square of 17 pixels or more.
        assert (enhanced - plain > 80).sum() > 300
