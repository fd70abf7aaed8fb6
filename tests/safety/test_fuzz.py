"""Every parser, given changed copies of valid files: a MedbenchError that names it, or success.

`python benchmarks/fuzz.py all --seconds 60` does the same for longer, and with atheris guided by
coverage.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = (
    *("records", "model-cards", "dataset-cards", "declarations", "thresholds", "gate", "marks"),
    *("sweeps", "attempts", "training", "presets", "configs", "jsonl", "csv", "parquet", "npz"),
    *("tar", "images", "dicom", "nifti", "nifti-gz", "torch", "safetensors", "indices", "answers"),
)
QUICK, THOROUGH = 12, 600


def test_every_parser_of_the_register_is_tried(fuzz):
    assert set(NAMES) == set(fuzz.TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_valid_files_are_read(fuzz, tmp_path, name):
    target = fuzz.TARGETS[name]
    outcomes = {fuzz.attempt(target, data, tmp_path, seconds=300) for data in target.seeds()}
    # Deep images without a window, and recipes that extend a neighbour, are refused rightly.
    assert outcomes == {"read"} or name in {"images", "training"}


def tried(fuzz, attempt, name, folder, seed):
    target = fuzz.TARGETS[name]
    rng = random.Random(seed)
    path = folder / target.filename
    path.write_bytes(fuzz.mutate(rng.choice(target.seeds()), rng))
    attempt(lambda: target.read(path), names=path.name if name != "marks" else "", refused=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=QUICK, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(seed=st.integers(0, 1 << 32))
def test_changed_files(fuzz, attempt, tmp_path, name, seed):
    tried(fuzz, attempt, name, tmp_path, seed)


def test_the_same_seed_gives_the_same_change_whatever_came_before(fuzz):
    data = b'[{"a": []}, [[]], {"b": {"c": 1}}]'

    def changes() -> list[bytes]:
        return [fuzz.mutate(data, random.Random(seed)) for seed in range(3_000)]

    assert changes() == changes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=THOROUGH, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(seed=st.integers(0, 1 << 60))
def test_many_changed_files(fuzz, attempt, tmp_path, name, seed):
    tried(fuzz, attempt, name, tmp_path, seed)


@pytest.mark.parametrize("name", ["images", "dicom", "nifti", "nifti-gz", "npz", "tar", "torch"])
@settings(
    max_examples=QUICK, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(data=st.binary(max_size=2_000))
def test_files_of_any_bytes(fuzz, attempt, tmp_path, name, data):
    path = tmp_path / fuzz.TARGETS[name].filename
    path.write_bytes(data)
    attempt(lambda: fuzz.TARGETS[name].read(path), names=path.name)


answers = st.text(max_size=60) | st.sampled_from(
    ["yes no", "否是", "NO.", "\u202eyes", "１", "½", "²", "-", "i̇", "ß" * 9, "٣", "\x00", "nan"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(rows=st.lists(st.tuples(answers, answers, st.booleans(), answers), min_size=1, max_size=5))
def test_the_scorer_takes_any_answer_and_every_question_counts(attempt, rows):
    from medbench.harness.datasets.question import Question
    from medbench.tasks.vqa.scoring.asked import Asked
    from medbench.tasks.vqa.scoring.report import report, text_of_report

    asked = [
        Asked(
            Question(
                id=str(number),
                image_id="",
                question=question,
                answer=reference,
                kind="closed" if closed else "open",
                language="en" if number % 2 else "zh",
            )
        )
        for number, (question, reference, closed, _) in enumerate(rows)
    ]
    given_answers = {str(number): row[3] for number, row in enumerate(rows) if number % 3 != 2}

    def score():
        found = report(asked, given_answers)
        assert len(found.verdicts) == len(asked)
        assert text_of_report(found)
        (whole,) = [s for s in found.scores if s.name == "overall" and s.group == "all"]
        assert whole.n == len(asked)
        assert 0 <= whole.value <= 100

    attempt(score, names="", refused=False)
