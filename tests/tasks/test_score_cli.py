from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from medbench.harness.errors import UsageError
from medbench.tasks.cli import register


@pytest.fixture
def files(tmp_path):
    gold, answers = tmp_path / "gold.jsonl", tmp_path / "answers.jsonl"
    rows = [
        {"question_id": 1, "question": "Is it?", "answer": "Yes", "answer_type": "CLOSED"},
        {"question_id": 2, "question": "What?", "answer": "The lung", "answer_type": "OPEN"},
        {"question_id": "3", "question": "有吗?", "answer": "没有", "answer_type": "CLOSED"},
    ]
    write(gold, rows)
    write(answers, [{"question_id": 1, "text": "yes"}, {"question_id": "2", "text": "lung"}])
    return gold, answers


def write(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def score(*arguments):
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["score", "vqa", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_json_has_the_five_metrics_by_name(files):
    gold, answers = files
    found = json.loads(score("--gold", gold, "--answers", answers, "--json"))
    assert found["closed_accuracy"] == 1 / 2
    assert found["open_exact"] == found["open_recall"] == found["open_f1"] == 1
    assert found["overall"] == pytest.approx(2 / 3)
    assert (found["n"], found["n_closed"], found["n_open"]) == (3, 2, 1)
    assert found["missing"] == ["3"]
    languages = {g["group"]: g["n"] for g in found["groups"] if g["name"] == "overall"}
    assert languages == {"all": 3, "language:en": 2, "language:zh": 1}


def test_the_table_names_questions_without_an_answer(files):
    text = score("--gold", files[0], "--answers", files[1])
    assert "1 questions have no answer and count as wrong: 3" in text
    assert "0.6667" in text


def test_two_files_of_answers_are_compared_in_pairs(files, tmp_path):
    others = tmp_path / "others.jsonl"
    write(others, [{"question_id": n, "text": "no"} for n in (1, 2, 3)])
    arguments = ("--gold", files[0], "--answers", files[1], "--compare", others)
    found = json.loads(score(*arguments, "--json"))["comparison"]
    counts = {name: (of["only_first_right"], of["only_second_right"]) for name, of in found.items()}
    assert counts.pop("overall") == (2, 1)
    # Closed and open questions apart; recall and F1 are not right or wrong.
    assert counts.pop("closed_accuracy") == (1, 1)
    assert counts.pop("open_exact") == (1, 0)
    assert counts == {"open_recall": (None, None), "open_f1": (None, None)}
    assert found["open_recall"]["difference"] == 1
    assert found["closed_accuracy"]["n"] == 2
    lines = score(*arguments).splitlines()
    assert any(
        line.startswith("Overall accuracy, first") and "only the first right on 2" in line
        for line in lines
    )


def test_questions_of_a_data_set_can_be_written_out_and_read_back(tmp_path):
    answers, gold = tmp_path / "answers.jsonl", tmp_path / "gold.jsonl"
    write(answers, [{"question_id": "test/ct/00000/0", "text": "yes"}])
    common = ("--answers", answers, "--json")
    first = json.loads(score("--dataset", "medsynth", *common, "--write-gold", gold))
    again = json.loads(score("--gold", gold, *common))
    controls = first.pop("controls")
    assert "no training questions" in again.pop("controls")["majority"]["reason"]
    assert again == first
    assert first["n"] > 10_000
    assert 0 < controls["majority"]["overall"] < 1
    assert "not at hand" in controls["blind"]["reason"]


def test_questions_can_be_written_out_without_answers(files, tmp_path):
    score("--gold", files[0], "--write-gold", tmp_path / "again.jsonl")
    assert score("--gold", tmp_path / "again.jsonl", "--answers", files[1])
    with pytest.raises(UsageError, match="--answers FILE.jsonl is missing"):
        score("--gold", files[0])


def test_the_second_file_is_reported_too(files, tmp_path):
    others = tmp_path / "others.jsonl"
    write(others, [{"question_id": 1, "text": "yes"}])
    arguments = ("--gold", files[0], "--answers", files[1], "--compare", others)
    second = json.loads(score(*arguments, "--json"))["second"]
    assert second["overall"] == pytest.approx(1 / 3)
    assert second["missing"] == ["2", "3"]
    assert "2 questions have no answer and count as wrong: 2, 3" in score(*arguments)


def test_the_verdict_on_each_answer_can_be_written_out(files, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    score("--gold", files[0], "--answers", files[1], "--output", path)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["question_id"] for row in rows] == ["1", "2", "3"]
    assert [row["correct"] for row in rows] == [True, True, False]
    assert rows[1]["text"] == "lung"
    assert rows[1]["answer"] == "The lung"
    assert not rows[2]["parsed"]


def test_answers_may_be_called_response(files, tmp_path):
    answers = tmp_path / "infer.jsonl"
    write(answers, [{"question_id": 1, "response": "yes", "prompt": "Is it?"}])
    found = json.loads(score("--gold", files[0], "--answers", answers, "--json"))
    assert found["overall"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"question_id": 1, "text": "a"}\n{"question_id": 1, "text": "b"}', "occur twice: 1"),
        ('{"question_id": 9, "text": "a"}', "questions that are not asked: 9"),
        ('{"question_id": 1, "text": "a"}\n{"question_id": 2, "te', "line 2: not valid JSON"),
        ('{"question_id": 1}', "line 1: text is None"),
        ('{"text": "a"}', "line 1: question_id is None"),
        ('{"question_id": 1, "text": 5}', "line 1: text is 5"),
        ('{"question_id": 1, "response": 5}', "line 1: response is 5"),
        ('{"question_id": 1, "response": "a", "text": "b"}', "line 1: text and response"),
        (r'{"question_id": 1, "text": "\ud83d"}', "line 1: .*half of a character"),
        (r'[{"question_id": 1, "text": "\ud83d"}]', "line 1: .*half of a character"),
        ("[1, 2]", "line 1"),
        ("", "is empty"),
    ],
)
def test_wrong_answer_files_are_refused_with_the_place(files, tmp_path, lines, message):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(lines, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        score("--gold", files[0], "--answers", wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_type": "MAYBE"}, "answer_type is 'MAYBE', expected one of OPEN, CLOSED"),
        ({"answer": ""}, "answer is ''"),
        ({"language": "fr"}, "language is 'fr'"),
        ({"question_id": 1}, "occur twice: 1"),
        ({"modality": "all"}, r"wrong\.jsonl: line 2: modality is 'all'"),
        ({"modality": "macro"}, r"wrong\.jsonl: line 2: modality is 'macro'"),
        ({"modality": "topic:size"}, r"wrong\.jsonl: line 2: modality is 'topic:size'"),
    ],
)
def test_wrong_reference_files_are_refused_with_the_place(files, tmp_path, change, message):
    row = {"question_id": 1, "question": "Is it?", "answer": "Yes", "answer_type": "CLOSED"}
    wrong = tmp_path / "wrong.jsonl"
    write(wrong, [row, {**row, "question_id": 2, **change}])
    with pytest.raises(UsageError, match=message):
        score("--gold", wrong, "--answers", files[1])


@pytest.mark.parametrize(
    ("option", "other", "place"),
    [
        ("--output", "--answers", "answers.jsonl"),
        ("--output", "--gold", "linked.jsonl"),
        ("--output", "--compare", "others.jsonl"),
        ("--write-gold", "--gold", "folder/../gold.jsonl"),
        ("--output", "--write-gold", "new.jsonl"),
    ],
)
def test_no_file_that_was_given_is_written_over(files, tmp_path, option, other, place):
    gold, answers = files
    others = tmp_path / "others.jsonl"
    write(others, [{"question_id": 1, "text": "yes"}])
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked.jsonl").symlink_to(gold)
    before = {path: path.read_bytes() for path in (gold, answers, others)}
    arguments = ["--gold", gold, "--answers", answers, "--compare", others]
    arguments += ["--write-gold", tmp_path / place] if other == "--write-gold" else []
    with pytest.raises(UsageError, match=f"^{option} .* is the file of {other}"):
        score(*arguments, option, tmp_path / place)
    assert before == {path: path.read_bytes() for path in before}
    assert not (tmp_path / "new.jsonl").exists()


def test_either_questions_or_a_data_set_must_be_named(files):
    for arguments in ((), ("--gold", files[0], "--dataset", "medsynth")):
        with pytest.raises(UsageError, match="either --gold"):
            score(*arguments, "--answers", files[1])


def test_scoring_needs_no_torch(files):
    code = (
        "import sys, typer; from medbench.tasks.cli import register; app = typer.Typer();"
        f"register(app); app(['score', 'vqa', '--gold', {str(files[0])!r}, '--answers', "
        f"{str(files[1])!r}], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
