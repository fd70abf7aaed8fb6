from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medbench.harness.datasets.question import Question
from medbench.harness.registry import load_dataset
from medbench.harness.statistics.proportions import wilson_interval
from medbench.tasks.vqa.scoring.asked import Asked, asked_of
from medbench.tasks.vqa.scoring.legacy import legacy_scores
from medbench.tasks.vqa.scoring.report import compare, report, text_of_report
from medbench.tasks.vqa.scoring.verdict import judge
from medbench.tasks.vqa.scoring.words import words_of

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "scorer_cases.jsonl").read_text("utf-8").splitlines()
]


def ask(number, answer, kind="closed", *, image="", language="en", topic=None, group=""):
    question = Question(str(number), image, "?", answer, kind, language, topic)
    return Asked(question, group)


def values_of(found, *, setting=""):
    return {(s.name, s.group): s.value for s in found.scores if s.setting == setting}


def score_of(found, name):
    return next(s for s in found.scores if (s.name, s.group, s.setting) == (name, "all", ""))


def test_there_are_at_least_sixty_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_the_verdict_is_the_one_made_by_hand(case):
    question = Question("q", "i", "?", case["gold"], case["kind"], case["language"])
    verdict = judge(question, case["answer"])
    assert verdict.correct is case["correct"]
    assert verdict.recall == pytest.approx(case["recall"])


_questions = st.builds(
    lambda gold, kind, language: (gold, kind, language),
    st.one_of(st.sampled_from(["yes", "no", "left", "是", "没有", "2"]), st.text(min_size=1)),
    st.sampled_from(["closed", "open"]),
    st.sampled_from(["en", "zh"]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(_questions, st.one_of(st.none(), st.text(), st.sampled_from(["yes", "no"]))),
        min_size=1,
        max_size=8,
    )
)
def test_the_denominator_never_changes(rows):
    asked = [
        ask(number, gold, kind, language=language, image=f"i{number % 3}")
        for number, ((gold, kind, language), _) in enumerate(rows)
    ]
    answers = {str(n): text for n, (_, text) in enumerate(rows) if text is not None}
    found = report(asked, answers)
    kinds = Counter(each.question.kind for each in asked)
    for score in found.scores:
        if score.setting or score.group != "all":
            continue
        expected = {"overall": len(asked), "closed_accuracy": kinds["closed"]}
        assert score.n == expected.get(score.name, kinds["open"])
        assert (score.value is None) == (score.n == 0)
    right = sum(verdict.correct for verdict in found.verdicts)
    assert values_of(found)["overall", "all"] == pytest.approx(right / len(asked))


@given(st.text(), st.sampled_from(["en", "zh"]))
@example("0:X0", "en")
@example("2x:3", "en")
def test_normalising_twice_changes_nothing(text, language):
    once = words_of(text, language)
    assert words_of(" ".join(once), language) == once or set(once) & {"two", "a", "an", "the"}


def test_every_reference_answers_its_own_question():
    for answer in ("Yes", "no", "Left Lung, Right", "不包含", "是的", "T2", "+", "两个"):
        for kind in ("closed", "open"):
            for language in ("en", "zh"):
                verdict = judge(Question("q", "i", "?", answer, kind, language), answer)
                assert verdict.correct
                assert verdict.recall == verdict.f1 == 1


def test_overall_is_the_weighted_mean_of_closed_and_open():
    asked = [ask(0, "yes"), ask(1, "no"), ask(2, "yes"), ask(3, "lung", "open")]
    values = values_of(report(asked, {"0": "yes", "1": "yes", "2": "yes", "3": "the lung"}))
    assert values["closed_accuracy", "all"] == pytest.approx(2 / 3)
    assert values["open_exact", "all"] == 1
    assert values["overall", "all"] == 3 / 4


def test_groups_are_modalities_languages_and_topics_where_there_are_several():
    asked = [
        ask(0, "yes", topic="SIZE, PRES", group="ct"),
        ask(1, "是", language="zh", topic="PRES", group="mri"),
        ask(2, "lung", "open", topic="SIZE", group="ct"),
    ]
    values = values_of(report(asked, {"0": "yes", "2": "liver"}))
    groups = {group for _, group in values}
    assert groups == {
        *("all", "ct", "mri", "language:en", "language:zh", "topic:SIZE", "topic:PRES")
    }
    assert values["overall", "topic:PRES"] == 1 / 2
    assert values["closed_accuracy", "topic:SIZE"] == 1
    assert ("open_exact", "topic:PRES") not in values


def test_questions_of_one_image_are_drawn_together():
    # Ten answers per image, all right or all wrong: the images are what is independent.
    asked = [ask(n, "yes", image=f"i{n // 10}") for n in range(200)]
    answers = {str(n): "yes" if (n // 10) % 2 else "no" for n in range(200)}
    together = next(s for s in report(asked, answers).scores if s.name == "overall")
    alone = [ask(n, "yes", image=f"i{n}") for n in range(200)]
    apart = next(s for s in report(alone, answers).scores if s.name == "overall")
    assert together.value == apart.value == 0.5
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


def test_the_legacy_definition_loses_wrong_answers_and_finds_no_in_normal():
    questions = [Question(str(n), "", "?", "yes", "closed") for n in range(4)]
    legacy = legacy_scores(questions, ["no", "yes", "lung", "normal"])
    # "no" and "normal" leave the denominator; "lung" stays, as wrong.
    assert (legacy.closed_accuracy, legacy.closed_counted) == (1 / 2, 2)
    no = [Question("q", "", "?", "no", "closed")]
    assert legacy_scores(no, ["all is normal"]).closed_accuracy == 1
    open_one = [Question("q", "", "?", "left lung", "open")]
    legacy = legacy_scores(open_one, ["the left upper lobe"])
    assert legacy.open_exact == pytest.approx(1 / 3)
    assert legacy.open_recall == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("reference", "answer", "exact", "recall", "f1"),
    [
        # Worked out by hand from LLaVA-Med's evaluation: different words over the answer's, and
        # shared words as often as the answer repeats them.
        ("left lung", "lung lung lung", 1 / 3, 3 / 4, 6 / 7),
        ("brain edema brain tumor", "brain", 1, 1 / 3, 1 / 2),
        ("brain edema brain enhancing tumor", "brain edema", 1, 1 / 2, 2 / 3),
        ("lung", "heart", 0, 0, 0),
        ("lung", "", 0, 0, 0),
    ],
)
def test_the_legacy_definition_counts_repeated_words_as_its_script(
    reference, answer, exact, recall, f1
):
    legacy = legacy_scores([Question("q", "", "?", reference, "open")], [answer])
    assert legacy.open_exact == pytest.approx(exact)
    assert legacy.open_recall == pytest.approx(recall)
    assert legacy.open_f1 == pytest.approx(f1)


def test_where_all_answers_are_right_the_interval_is_that_of_as_many_images():
    asked = [ask(n, "yes", image=f"i{n // 2}") for n in range(6)]
    found = score_of(report(asked, {str(n): "yes" for n in range(6)}), "overall")
    expected = wilson_interval(3, 3)
    assert (found.low, found.high) == (expected.low, expected.high)
    none = score_of(report(asked, {}), "overall")
    assert (none.low, none.high) == pytest.approx((0, 1 - expected.low))


@pytest.mark.parametrize(
    ("asked", "answers", "name", "value", "images"),
    [
        # Six of seven right on each of three images.
        (
            [ask(n, "yes", image=f"i{n // 7}") for n in range(21)],
            {str(n): "yes" if n % 7 else "no" for n in range(21)},
            "overall",
            6 / 7,
            3,
        ),
        # Half of the words on each of twenty.
        (
            [ask(n, "left lung", "open", image=f"i{n}") for n in range(20)],
            {str(n): "lung" for n in range(20)},
            "open_recall",
            1 / 2,
            20,
        ),
    ],
    ids=["share", "words"],
)
def test_where_images_are_worth_the_same_the_interval_has_a_width(
    asked, answers, name, value, images
):
    found = score_of(report(asked, answers), name)
    assert found.value == pytest.approx(value)
    # The closed form of Wilson's interval, of as many trials as images.
    z = 1.96
    centre = (value + z**2 / (2 * images)) / (1 + z**2 / images)
    inside = value * (1 - value) / images + z**2 / (4 * images**2)
    margin = z * np.sqrt(inside) / (1 + z**2 / images)
    assert (found.low, found.high) == pytest.approx((centre - margin, centre + margin))
    assert found.flags == ()


def test_a_single_image_is_said_to_have_no_known_spread():
    asked = [ask(n, "yes", image=f"i{n % 4}", group="ct") for n in range(20)]
    asked += [ask(n, "yes", image="lone", group="mri") for n in range(20, 27)]
    found = report(asked, {str(n): "yes" for n in range(26)})
    lone = next(s for s in found.scores if (s.name, s.group) == ("overall", "mri"))
    assert (lone.low, lone.high) == (None, None)
    assert lone.flags == ("one image: spread unknown",)
    assert "\nmri: one image: spread unknown" in text_of_report(found)
    assert score_of(found, "overall").flags == ()


def test_a_modality_with_a_single_image_does_not_take_the_interval_away():
    asked = [ask(n, "yes", image=f"i{n // 2}", group="ct") for n in range(60)]
    asked += [ask(n, "yes", image="lone", group="mri") for n in (60, 61)]
    first = report(asked, {str(n): "yes" if n % 3 else "no" for n in range(62)})
    found = score_of(first, "overall")
    assert found.low < found.value < found.high
    assert len(found.replicates) == 1000
    second = report(asked, {str(n): "yes" for n in range(62)})
    assert compare(first, second)["overall"].difference.low is not None


def test_unknown_images_are_said_to_be_unknown():
    answers = {str(n): "yes" for n in range(4)}
    alone = report([ask(n, "yes") for n in range(4)], answers)
    assert score_of(alone, "overall").flags == ("images unknown: questions count as independent",)
    assert "questions count as independent" in text_of_report(alone)
    known = report([ask(n, "yes", image=f"i{n}") for n in range(4)], answers)
    assert score_of(known, "overall").flags == ()


def test_comparing_counts_the_questions_that_only_one_answers_rightly():
    asked = [ask(n, "yes", image=f"i{n}") for n in range(10)]
    first = report(asked, {str(n): "yes" for n in range(10)})
    second = report(asked, {str(n): "yes" if n < 3 else "no" for n in range(10)})
    found = compare(first, second)["overall"]
    assert (found.only_first, found.only_second) == (7, 0)
    assert found.difference.value == pytest.approx(0.7)
    assert found.mcnemar_p == pytest.approx(2 / 2**7)
    assert compare(first, first)["overall"].mcnemar_p == 1


@pytest.mark.parametrize(
    ("reference", "file", "field", "split"),
    [
        ("vqa-rad@all", "vqa/vqa_rad/VQA_RAD Dataset Public.json", "question_type", None),
        ("slake@test", "vqa/slake/Slake1.0/test.json", "content_type", None),
    ],
)
def test_counts_per_type_are_those_of_the_owners_files(
    real_data, monkeypatch, reference, file, field, split
):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    rows = json.loads((real_data / file).read_text("utf-8"))
    asked = asked_of(load_dataset(reference, data_root=real_data))
    found = report(asked, {})
    closed = sum(row["answer_type"].strip() == "CLOSED" for row in rows)
    pooled = {s.name: s for s in found.scores if s.group == "all" and not s.setting}
    assert pooled["closed_accuracy"].n == closed
    assert pooled["open_exact"].n == len(rows) - closed
    assert pooled["overall"].n == len(rows)
    assert pooled["overall"].value == 0
    per_type = Counter(part.strip() for row in rows for part in row[field].split(","))
    counted = {s.group: s.n for s in found.scores if s.name == "overall"}
    assert {f"topic:{name}": count for name, count in per_type.items()} == {
        name: n for name, n in counted.items() if name.startswith("topic:")
    }


def test_every_reference_of_the_real_files_is_right_by_itself(real_data, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    for reference in ("vqa-rad@all", "slake@test"):
        asked = asked_of(load_dataset(reference, data_root=real_data))
        answers = {each.question.id: each.question.answer for each in asked}
        assert all(verdict.correct for verdict in report(asked, answers).verdicts)
