from __future__ import annotations

from dataclasses import replace

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.registry import load_dataset
from medbench.harness.runner import run
from medbench.tasks.vqa.controls import training_questions
from medbench.tasks.vqa.overlap import refuse_learnt_questions
from medbench.tasks.vqa.task import TASK

from .conftest import MICRO, add_training_question


@pytest.mark.parametrize("name", ["medsynth@train", "vqa-rad@train", "vqa-rad@all"])
def test_questions_that_a_preset_learns_are_not_scored(vqa_rad, name):
    add_training_question(vqa_rad)
    dataset = load_dataset(name, data_root=vqa_rad / "data")
    with pytest.raises(UsageError, match=r"questions are among those that preset tiny learns on"):
        TASK.parts(dataset, {"preset": "tiny"}, 1)
    assert "are scored" in training_questions(dataset)
    # Another data set counts its own questions, and may give them the same ids.
    assert "pubmedvision@instruction" in TASK.parts(dataset, {"preset": "paper"}, 1)
    with pytest.raises(UsageError, match="preset own learns on"):
        refuse_learnt_questions(dataset, replace(MICRO, name="own", captions=name, pairs=name))


def test_a_record_tells_how_many_scored_images_are_learnt_on_with_other_questions(
    micro, vqa_rad, monkeypatch
):
    monkeypatch.setenv("MEDBENCH_CACHE", str(vqa_rad / "cache"))
    add_training_question(vqa_rad)
    options = {"dataset": "vqa-rad", "data_root": vqa_rad / "data", "options": {"preset": "micro"}}
    record = run("meditok", "vqa", output=vqa_rad / "results", device="cpu", **options)[0]
    assert any("1 of 2 scored images are also learnt on" in each for each in record.warnings)
    assert record.metric("overall", "all", "majority").value is not None
