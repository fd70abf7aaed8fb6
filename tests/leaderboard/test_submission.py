from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medbench.__main__ import invoke
from medbench.harness.file_hashes import file_sha256
from medbench.harness.record import Record
from medbench.harness.record_files import record_path, write_record
from medbench.harness.record_metric import Definition, metric_of
from medbench.leaderboard.submission import check_submission


def record_of(results, name):
    return next(results.glob(f"recon/medsynth/{name}@reference/*.json"))


def change(path, edit):
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def problems(results, name, previous=None):
    found = {c.path.parent.name: c for c in check_submission(results, previous)}
    return " ".join(found[f"{name}@reference"].problems)


def test_what_run_wrote_may_be_submitted(results, capsys):
    assert invoke(["submit", "check", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "3 of 3 records may be submitted" in shown
    assert int(re.search(r"(\d+) values confirmed", shown).group(1)) >= 44


@pytest.mark.parametrize(
    ("field", "message"),
    [("value", "its rows give"), ("low", "the rows give"), ("replicates", "common draws")],
)
def test_an_aggregate_that_its_rows_do_not_give_is_refused(results, field, message):
    def edit(data):
        metric = next(m for m in data["metrics"] if (m["name"], m["group"]) == ("psnr", "macro"))
        if field == "replicates":
            metric[field][0] += 0.5
        else:
            metric[field] -= 0.5

    change(record_of(results, "mean"), edit)
    assert message in problems(results, "mean")
    assert invoke(["submit", "check", str(results)]) == 1


def claim(n):
    def edit(data):
        for metric in data["metrics"]:
            metric["n"] = n

    return edit


@pytest.mark.parametrize("n", [3, 7000])
def test_a_mean_of_another_number_of_images_than_its_rows_is_refused(results, capsys, n):
    path = record_of(results, "down8")
    change(path, claim(n))
    assert f"PSNR (dB) ↑ of ct: n is {n:,}, its rows give 4" in problems(results, "down8")
    assert invoke(["recheck", str(path), "--json"]) == 1
    (outcome,) = json.loads(capsys.readouterr().out)
    assert f"PSNR (dB) ↑ of ct: n is {n:,} in the record, 4 here" in outcome["problems"]


def test_a_value_of_more_images_or_positions_than_the_rows_hold_is_refused(tmp_path, capsys):
    words = ["--task", "recon", "--dataset", "sample", "--limit", "1", "--output", str(tmp_path)]
    assert invoke(["run", "--tokenizer", "meditok", *words]) == 0
    assert invoke(["submit", "check", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("recon/sample/meditok@tiny/*.json")
    change(path, claim(1025 * 5))
    capsys.readouterr()
    assert invoke(["recheck", str(path), "--rows-only"]) == 1
    shown = capsys.readouterr().out
    assert "Bits per image (bits) of all: n is 5,125, its rows allow 5" in shown
    assert "Codebook usage of ct: n is 5,125, its rows allow 256" in shown


def test_changed_rows_are_refused(results):
    path = record_of(results, "mean").with_suffix(".parquet")
    rows = pd.read_parquet(path)
    rows.loc[0, "psnr"] += 5
    rows.to_parquet(path)
    found = problems(results, "mean")
    assert "SHA-256" in found
    assert "its rows give" in found


def test_absent_rows_are_refused(results):
    record_of(results, "mean").with_suffix(".parquet").unlink()
    assert "is not beside the record" in problems(results, "mean")


def test_a_record_in_another_place_is_refused(results):
    path = record_of(results, "mean")
    path.rename(path.with_name("00000000.json"))
    assert "belongs at recon/medsynth/mean@reference" in problems(results, "mean")


def test_a_system_that_loses_against_a_bound_must_say_so(results):
    def edit(data):
        data["info"]["kind"] = "discrete"

    change(record_of(results, "mean"), edit)
    assert "does not beat the trivial bound" in problems(results, "mean")


def test_a_jump_against_the_previous_row_is_noted(results, tmp_path):
    previous = tmp_path / "previous"
    target = previous / "recon/medsynth/mean@reference"
    target.mkdir(parents=True)
    source = record_of(results, "down8")
    for suffix in (".json", ".parquet"):
        (target / source.with_suffix(suffix).name).write_bytes(
            source.with_suffix(suffix).read_bytes()
        )

    def edit(data):
        data["tokenizer"] = data["info"]["name"] = "mean"

    change(target / source.name, edit)
    checked = {c.path.parent.name: c for c in check_submission(results, previous)}
    assert any("jump: PSNR" in note for note in checked["mean@reference"].notes)
    assert not any("jump" in note for note in checked["down16@reference"].notes)


def test_an_empty_folder_is_a_usage_error(tmp_path):
    assert invoke(["submit", "check", str(tmp_path)]) == 2
    assert invoke(["submit", "check", str(tmp_path / "nowhere")]) == 2


def test_recheck_measures_again(results, capsys):
    assert invoke(["recheck", str(record_of(results, "down8")), "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)
    assert outcome["confirmed_by_rows"] >= 44
    assert outcome["measured_again"] >= outcome["confirmed_by_rows"]
    assert outcome["problems"] == []


def test_recheck_finds_a_value_that_nobody_measures(results, capsys):
    def edit(data):
        for metric in data["metrics"]:
            if (metric["name"], metric["group"]) == ("ssim", "ct"):
                metric["value"] -= 0.01

    path = record_of(results, "down8")
    change(path, edit)
    assert invoke(["recheck", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "SSIM ↑ of ct: record" in shown
    assert invoke(["recheck", str(path), "--rows-only"]) == 1


def test_recheck_says_what_keeps_it_from_measuring(results, capsys):
    def edit(data):
        data["tokenizer"] = data["info"]["name"] = "elsewhere"

    path = record_of(results, "down8")
    change(path, edit)
    assert invoke(["recheck", str(path)]) == 0
    assert "not measured again: unknown tokenizer 'elsewhere" in capsys.readouterr().out


def test_recheck_does_not_guess_the_file_behind_a_hash(results, capsys):
    def edit(data):
        data["identity"]["options"] = {"generator": "ab" * 32}

    path = record_of(results, "down8")
    change(path, edit)
    assert invoke(["recheck", str(path)]) == 0
    assert "a file of the user's (--generator)" in capsys.readouterr().out


NAMED = {"ct": (("ct", "ct"), ("ct", "mri")), "mri": (("ct", "mri"), ("ct", "ct"))}
"""What two samples of a class were taken for, by class and seed."""
RATIOS = {"ct": ((1.0, 3.0), (3.0, None)), "mri": ((1.0, 1.0), (2.0, 2.0))}
"""Their distances; a sample that was not compared has none."""
BY_SEED = {
    ("class_accuracy", "ct"): (1.0, 0.5),
    ("class_accuracy", "mri"): (0.5, 0.0),
    ("class_accuracy", "all"): (0.75, 0.25),
    ("class_accuracy", "macro"): (0.75, 0.25),
    ("nearest_training", "ct"): (2.0, 3.0),
    ("nearest_training", "mri"): (1.0, 2.0),
    ("nearest_training", "macro"): (1.5, 2.5),
    ("nearest_training", "all"): (1.9, 2.1),  # of another scale: in no row
}
STUDENT = 12.7062047 / 2**0.5
"""Half of the interval of two values, over their standard deviation."""


@pytest.fixture
def generated(make, tmp_path):
    """generated(change): a record of synthesis whose values rows give; `change` is added to one."""

    def written(change=None):
        rows = [
            {"id": f"seed {seed}/{group}/{place:05}", "group": group, "sha256": "", "named": named}
            | {"nearest_training": RATIOS[group][seed][place]}
            for seed in range(2)
            for group in ("ct", "mri")
            for place, named in enumerate(NAMED[group][seed])
        ]
        definition = Definition(id="made", facts={})
        metrics = []
        for (name, group), (first, second) in BY_SEED.items():
            more = 0.1 if (name, group) == change else 0.0
            mean, half = (first + second) / 2, STUDENT * abs(first - second) / 2**0.5
            most = 1.0 if name == "class_accuracy" else np.inf
            low, high = (float(np.clip(end, 0.0, most)) for end in (mean - half, mean + half))
            ends = {"low": low, "high": high, "replicates": (first, second)}
            images = 4 if group in ("all", "macro") else 2
            made = metric_of(name, group, definition, value=mean + more, n=images)
            metrics.append(replace(made, **ends))
        base = make("a")
        fields = {"task": "synthesis", "metrics": metrics, "definitions": {"made": definition}}
        record = Record.model_validate_json(base.model_copy(update=fields).model_dump_json())
        place = {"dataset_id": record.dataset.id, "key8": record.identity.key8}
        path = record_path(tmp_path, task="synthesis", tokenizer="a@v", **place)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = path.with_suffix(".parquet")
        pd.DataFrame(rows).to_parquet(table)
        hashed = {"per_image": table.name, "per_image_sha256": file_sha256(table)}
        write_record(path, record.model_copy(update=hashed))
        return path

    return written


def test_recheck_confirms_what_rows_of_generated_images_give(generated, capsys):
    assert invoke(["recheck", str(generated()), "--rows-only", "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)
    assert outcome["confirmed_by_rows"] == len(BY_SEED) - 1
    assert outcome["not_from_rows"] == ["Nearest training image"]


@pytest.mark.parametrize("change", [each for each in BY_SEED if each[1] != "all"])
def test_recheck_finds_a_value_that_generated_images_do_not_give(generated, change, capsys):
    assert invoke(["recheck", str(generated(change)), "--rows-only"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("its rows give") == 1
    assert f"of {change[1]}: the record says" in shown
