from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from medbench.harness.files import hash_value
from medbench.harness.runner import run
from medbench.harness.sealed import write_sealed
from medbench.leaderboard.ranking import takes_part

from .conftest import measure


@pytest.fixture
def taught(micro, tmp_path):
    """The folder of a trained model, and facts that are written over its own."""
    measure(tmp_path / "taught", options={"preset": "micro"})
    (trained,) = Path(os.environ["MEDBENCH_CACHE"]).glob("vqa/tuning-*/model")

    def folder(**changed):
        own = tmp_path / f"model-{hash_value(changed)[:8]}"
        shutil.copytree(trained, own)
        facts = json.loads((own / "vqa.json").read_text())
        write_sealed(own / "vqa.json", json.dumps(facts | changed).encode())
        return {"model": str(own)}

    return folder


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"tokenizer": "unitok@tiny"}, "trained on features of unitok@tiny, not of meditok@tiny"),
        ({"recipe": {"preset": "smoke"}}, "preset smoke only shows that everything runs"),
        ({"recipe": {"parts": {"train": "medsynth"}}}, "trained on medsynth, which is scored"),
    ],
)
def test_a_given_model_that_says_nothing_of_the_cell_is_not_ranked(
    taught, changed, reason, tmp_path
):
    record = measure(tmp_path, options=taught(**changed))
    assert record.status == "partial"
    assert reason in record.status_reason
    assert record.metric("overall", "all").value is not None
    assert not takes_part(record)


def test_a_lone_image_has_no_other_to_be_shuffled_with(taught, vqa_rad, tmp_path):
    (vqa_rad / "data" / "vqa-rad" / "VQA_RAD Image Folder" / "i1.jpg").unlink()
    options = {"dataset": "vqa-rad", "data_root": vqa_rad / "data", "options": taught()}
    record = run("meditok", "vqa", output=tmp_path, device="cpu", **options)[0]
    assert record.metric("overall", "all").value is not None
    shuffled = record.metric("overall", "all", "shuffled")
    assert shuffled.value is None
    assert "needs two images" in shuffled.reason
