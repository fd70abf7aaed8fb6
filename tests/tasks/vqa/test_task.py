from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from medbench.harness.errors import UsageError
from medbench.harness.record_files import read_results
from medbench.harness.registry import load_dataset
from medbench.harness.runner import run
from medbench.harness.statistics.proportions import mcnemar_p
from medbench.leaderboard.comparison.matrix import matrices
from medbench.leaderboard.comparison.places import places
from medbench.leaderboard.comparison.report import facts, words
from medbench.leaderboard.pairs import not_comparable, paired_difference
from medbench.tasks.vqa.task import TASK

from .conftest import MICRO, add_training_question, measure

SETTINGS = ("", "t=0.2", "blind", "shuffled", "majority", "legacy")


def test_a_record_has_the_controls_beside_the_number_and_a_row_for_each_question(micro, tmp_path):
    record = measure(tmp_path, options={"preset": "micro"})
    asked = [q for q in load_dataset("medsynth").questions() if q.image_id.endswith("/00000")]
    assert record.status == "ok"
    for setting in SETTINGS:
        found = record.metric("closed_accuracy", "all", setting)
        assert found is not None, setting
        if setting != "legacy":
            assert found.n == sum(q.kind == "closed" for q in asked)
            assert record.metric("overall", "all", setting).n == len(asked)
    assert record.metric("overall", "ct") is not None
    assert record.metric("overall", "topic:modality", "blind") is not None
    table = pd.read_parquet(tmp_path / "vqa" / "medsynth" / "meditok@tiny" / record.per_image)
    assert table["id"].tolist() == [q.id for q in asked]
    assert table["correct"].mean() == pytest.approx(record.metric("overall", "all").value)
    assert record.identity.options == {"preset": "micro"}
    assert set(record.identity.parts) == {"train"}

    # The trained model is a folder that answers the same.
    (folder,) = Path(os.environ["MEDBENCH_CACHE"]).glob("vqa/tuning-*/model")
    again = measure(tmp_path, options={"model": str(folder)})
    assert again.metric("overall", "all").value == record.metric("overall", "all").value
    assert again.metric("overall", "all", "shuffled") is not None
    assert "not trained here" in again.metric("overall", "all", "blind").reason
    assert again.metric("overall", "all").definition_hash != (
        record.metric("overall", "all").definition_hash
    )
    for setting in ("majority", "t=0.2"):
        assert again.metric("overall", "all", setting).value is not None
    facts = again.definitions[again.metric("overall", "all").definition].facts["model"]
    assert facts["recipe"]["preset"] == "micro"
    assert "meditok" not in json.dumps(facts)


def test_a_preset_bounds_the_images_and_a_limit_of_the_user_goes_before_it(micro, tmp_path):
    options = {"output": tmp_path, "device": "cpu", "options": {"preset": "micro"}}
    (own,) = run("meditok", "vqa", **options)
    (given,) = run("meditok", "vqa", limit=MICRO.scored, **options)
    for record in (own, given):
        assert record.dataset.limit == MICRO.scored == 2
        assert set(record.dataset.groups.values()) == {2}
    (one, other) = ({m.name: m for m in each.metrics} for each in (own, given))
    assert one["overall"].definition_hash == other["overall"].definition_hash
    assert one["overall"].value == other["overall"].value
    assert own.identity.limit is None
    assert given.identity.limit == 2


def test_what_is_made_elsewhere_is_asked_about_all_images():
    dataset = load_dataset("medsynth")
    assert TASK.scored_limit(dataset, {"answers": "a"}, None) is None
    assert TASK.scored_limit(dataset, {"model": "m"}, None) is None
    assert TASK.scored_limit(dataset, {"preset": "paper"}, None) is None
    assert TASK.scored_limit(dataset, {}, None) == 24
    assert TASK.scored_limit(dataset, {}, 300) == 300


@pytest.mark.slow
def test_features_of_other_code_behind_a_name_are_not_read_with_the_old_projector(
    micro, tmp_path, monkeypatch
):
    from medbench.tasks.vqa import image_tokens

    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    measure(tmp_path / "first", options={"preset": "micro"})
    own = image_tokens.averaged
    monkeypatch.setattr(image_tokens, "averaged", lambda tokens, side: -own(tokens, side))
    measure(tmp_path / "second", options={"preset": "micro"})
    found = [path.name.split("-")[0] for path in (tmp_path / "cache" / "vqa").iterdir()]
    # The text stage and the blind twin have no features: one of each.
    assert sorted(found) == ["projector", "projector", "text", *["tuning"] * 3, "vocabulary"]


def test_codecs_and_bounds_have_nothing_to_read(micro, tmp_path):
    record = measure(tmp_path, "down16", options={"preset": "micro"})
    assert record.status == "not-applicable"
    assert "nothing to read" in record.status_reason


def write_answers(path, texts):
    lines = [json.dumps({"question_id": n, "text": text}) for n, text in texts.items()]
    path.write_text("\n".join(lines))
    return str(path)


def test_answers_from_elsewhere_are_scored_and_said_to_be(vqa_rad):
    file = write_answers(vqa_rad / "a.jsonl", {0: "lung", 1: "yes", 2: "heart", 3: "no", 5: "yes"})
    record = run(
        "down16",
        "vqa",
        dataset="vqa-rad",
        data_root=vqa_rad / "data",
        output=vqa_rad / "results",
        options={"answers": file},
    )[0]
    assert record.metric("overall", "all").value == 3 / 6
    assert len(record.metric("overall", "all").replicates) == 1000
    assert record.metric("closed_accuracy", "all").value == pytest.approx(2 / 3)
    assert record.metric("overall", "organ:chest").value == 0
    assert record.metric("overall", "topic:ABN").n == 3
    assert record.metric("closed_accuracy", "all", "legacy").n == 2
    # The model is not at hand, and the set has no training questions.
    for setting in ("blind", "shuffled", "t=0.2"):
        assert "not at hand" in record.metric("overall", "all", setting).reason
    assert "no training questions" in record.metric("overall", "all", "majority").reason
    # An image is missing: named, and its questions stay in the denominator.
    assert record.status == "partial"
    assert [failed.id for failed in record.dataset.failed] == ["i2.jpg"]
    assert any("made elsewhere" in warning for warning in record.warnings)
    assert any("1 of 6 questions have no answer" in w for w in record.warnings)


def test_answers_of_two_tokenizers_are_compared_image_by_image(vqa_rad):
    add_training_question(vqa_rad)
    right = {0: "lung", 1: "yes", 2: "lung", 3: "yes", 4: "lung", 5: "yes"}
    files = {
        "down16": write_answers(vqa_rad / "a.jsonl", right),
        "down8": write_answers(vqa_rad / "b.jsonl", {**right, 2: "no", 3: "no", 5: "no"}),
    }
    for recipe in (None, "llava, stage 2"):
        stated = {} if recipe is None else {"recipe": recipe}
        records = [
            run(
                name,
                "vqa",
                dataset="vqa-rad",
                data_root=vqa_rad / "data",
                output=vqa_rad / str(recipe),
                options={"answers": file, **stated},
            )[0]
            for name, file in files.items()
        ]
        assert records[0].metric("closed_accuracy", "all", "majority").value == 1
    alone, alike = (
        read_results(vqa_rad / "None").stored,
        read_results(vqa_rad / "llava, stage 2").stored,
    )
    for one, other in (alone, (alone[0], alike[0])):
        assert "other definitions" in not_comparable(one.record, other.record, "overall", "all")
    stored = {each.record.tokenizer: each for each in alike}
    found = paired_difference(stored["down16"], stored["down8"], "overall", "all")
    assert (found.value, found.method, found.degrees) == (0.5, "per image", 2)
    assert found.mcnemar_p == mcnemar_p(3, 0)
    (place,) = places({name: [each] for name, each in stored.items()})
    (matrix,) = matrices(place, ["overall"])
    assert "McNemar's p: 0.25" in words(matrix.topic, matrix.pairs[0], matrix.plan)
    assert facts([matrix])[0]["pairs"][0]["mcnemar_p"] == 0.25


def test_a_recipe_is_stated_of_what_is_made_elsewhere_only(tmp_path):
    with pytest.raises(UsageError, match="a preset says it itself"):
        TASK.check_options({"recipe": "llava"})
    path = tmp_path / "a.jsonl"
    path.write_text("{}")
    found = TASK.check_options({"answers": str(path), "recipe": "llava"})
    assert found["recipe"] == "llava"


def test_answers_to_other_questions_are_refused(vqa_rad):
    file = write_answers(vqa_rad / "a.jsonl", {77: "lung"})
    options = {"output": vqa_rad / "results", "data_root": vqa_rad / "data"}
    with pytest.raises(UsageError, match="questions that are not asked: 77"):
        run("down16", "vqa", dataset="vqa-rad", options={"answers": file}, **options)


def test_answers_have_one_source_and_presets_are_known(tmp_path):
    with pytest.raises(UsageError, match="--answers and --preset"):
        TASK.check_options({"preset": "tiny", "answers": "a"})
    with pytest.raises(UsageError, match="no preset 'huge'"):
        TASK.check_options({"preset": "huge"})
    with pytest.raises(UsageError, match=r"no config\.json"):
        TASK.check_options({"model": str(tmp_path)})
    assert TASK.check_options({}) == {"preset": "tiny"}


def test_a_data_set_without_questions_is_refused(image_folder, tmp_path):
    with pytest.raises(UsageError, match="has no questions"):
        run("meditok", "vqa", dataset=f"folder:{image_folder}", output=tmp_path)


def test_the_papers_preset_names_the_parts_that_it_learns_on(vqa_rad):
    add_training_question(vqa_rad)
    dataset = load_dataset("vqa-rad", data_root=vqa_rad / "data")
    parts = TASK.parts(dataset, {"preset": "paper"}, None)
    assert parts == {"pubmedvision@alignment": None, "pubmedvision@instruction": None}
    assert TASK.parts(dataset, {}, 3) == {"train": 150}


@pytest.mark.slow
def test_smoke_runs_end_to_end_and_is_not_ranked(tmp_path):
    record = measure(tmp_path, options={"preset": "smoke"})
    assert record.status == "partial"
    assert "its numbers mean nothing" in record.status_reason
