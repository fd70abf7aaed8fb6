from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from medbench.harness.record_files import read_results
from medbench.harness.runner import run
from medbench.harness.statistics.proportions import mcnemar_p
from medbench.leaderboard.aggregates import recompute
from medbench.leaderboard.pairs import paired_difference

QUESTIONS = [
    {
        "qid": 4 * image + number,
        "img_id": image,
        "img_name": f"xmlab{image}/source.jpg",
        "question": "What is it?",
        "answer": "左 肺" if number % 2 else ("是" if number else "yes"),
        "q_lang": "zh" if number else "en",
        "location": ("Lung", "Head")[image // 2 % 2],
        "modality": ("CT", "MRI")[image % 2],
        "answer_type": "OPEN" if number % 2 else "CLOSED",
        "content_type": ("Organ", "Size, Organ", "Size", "Size")[number],
    }
    for image in range(8)
    for number in range(4)
]
# The first is wrong on every third question, the second on every fourth; half an answer at times.
RIGHT = [
    {row["qid"]: row["answer"] if row["qid"] % every else "左" for row in QUESTIONS}
    for every in (3, 4)
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("questions")
    folder = root / "data" / "slake" / "Slake1.0"
    for row in QUESTIONS:
        path = folder / "imgs" / row["img_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (20 * row["img_id"] + 20, 0, 0)).save(path)
    (folder / "test.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
        for name, answers in zip(("down8", "down16"), RIGHT, strict=True):
            file = root / f"{name}.jsonl"
            lines = [json.dumps({"question_id": n, "text": text}) for n, text in answers.items()]
            file.write_text("\n".join(lines), encoding="utf-8")
            options = {"answers": str(file), "recipe": "same"}
            places = {"data_root": root / "data", "output": root / "results"}
            run(name, "vqa", dataset="slake@test", options=options, **places)
    found = {each.record.tokenizer: each for each in read_results(root / "results").stored}
    return found["down8"], found["down16"]


GROUPS = {
    "all": lambda row: True,
    "ct": lambda row: row["modality"] == "CT",
    "language:zh": lambda row: row["q_lang"] == "zh",
    "topic:Organ": lambda row: "Organ" in row["content_type"],
    "topic:Size": lambda row: "Size" in row["content_type"],
    "organ:Lung": lambda row: row["location"] == "Lung",
}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    ("metric", "kinds"),
    [
        ("overall", ("OPEN", "CLOSED")),
        ("closed_accuracy", ("CLOSED",)),
        ("open_exact", ("OPEN",)),
    ],
)
def test_right_and_wrong_answers_are_paired_in_every_kind_and_group(stored, metric, kinds, group):
    found = paired_difference(*stored, metric, group)
    asked = [row for row in QUESTIONS if row["answer_type"] in kinds and GROUPS[group](row)]
    only = [
        sum(mine[r["qid"]] == r["answer"] != other[r["qid"]] for r in asked)
        for mine, other in (RIGHT, RIGHT[::-1])
    ]
    assert found.method == "per image"
    assert found.n == len(asked)
    assert found.value == pytest.approx((only[0] - only[1]) / len(asked))
    assert found.mcnemar_p == mcnemar_p(*only)
    assert found.units == len({row["img_id"] for row in asked})


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("metric", ["open_recall", "open_f1"])
def test_shares_of_words_are_paired_but_have_no_mcnemar(stored, metric, group):
    found = paired_difference(*stored, metric, group)
    assert found.method == "per image"
    assert found.mcnemar_p is None


def test_rows_confirm_every_value_of_the_questions(stored):
    again = recompute(stored[0])
    assert again.problems == []
    confirmed = {(each.metric.name, each.metric.group) for each in again.agree}
    own = [m for m in stored[0].record.metrics if m.value is not None and not m.setting]
    assert confirmed == {(metric.name, metric.group) for metric in own}


@pytest.mark.parametrize("place", [("closed_accuracy", "all"), ("open_f1", "topic:Size")])
def test_a_value_that_its_rows_do_not_give_is_found(stored, place):
    record = stored[0].record
    metrics = [
        replace(m, value=0.99, low=None, high=None, replicates=None)
        if (m.name, m.group, m.setting) == (*place, "")
        else m
        for m in record.metrics
    ]
    changed = replace(stored[0], record=record.model_copy(update={"metrics": metrics}))
    (problem,) = recompute(changed).problems
    assert f"of {place[1]}: the record says 0.99" in problem
