from __future__ import annotations

import json
from pathlib import Path

import pytest

from medbench.harness.record import Metric, Record
from medbench.harness.tables import (
    Column,
    markdown_table,
    modality_columns,
    modality_rows,
    rate,
    reasons,
    run_report,
    shown,
)
from medbench.harness.vocabulary import CONTROLS

TEMPLATE = Path(__file__).parent.parent / "records" / "v1_recon.json"


@pytest.fixture
def record() -> Record:
    return Record.model_validate_json(TEMPLATE.read_text())


def test_values_have_the_vocabularys_digits_and_half_the_interval():
    facts = {"name": "psnr", "group": "all", "n": 9, "direction": "higher"}
    facts |= {"definition": "a", "definition_hash": "b"}
    assert shown(Metric(value=31.4159, low=31.0, high=32.0, **facts)) == "31.42 ±0.50"
    assert shown(Metric(value=31.4159, **facts)) == "31.42"
    assert shown(Metric(value=None, reason="no weights", **facts)) == "–"
    assert shown(None) == "–"


def test_the_report_names_task_data_tokenizer_and_modalities(record):
    text = run_report([record])
    assert f"{record.task} on {record.dataset.id}" in text
    assert record.full_name in text
    for group in record.dataset.groups:
        assert group in text


def test_a_single_modality_has_no_table_of_its_own(record):
    psnr = next(c for c in modality_columns("recon") if c.metric == "psnr")
    assert modality_rows([record], psnr)
    group, count = next(iter(record.dataset.groups.items()))
    single = record.dataset.model_copy(update={"groups": {group: count}})
    assert modality_rows([record.model_copy(update={"dataset": single})], psnr) == []


def test_continuous_latents_are_marked_as_no_code(record):
    data = json.loads(record.model_dump_json())
    data["info"]["kind"] = "continuous"
    name = "bits_per_pixel"
    metric = next(m for m in data["metrics"] if m["name"] == "psnr") | {
        "name": name,
        "group": "all",
        "value": 1.25,
        "low": None,
        "high": None,
        "replicates": None,
    }
    data["metrics"] = [m for m in data["metrics"] if m["name"] != name] + [metric]
    assert rate(Record.model_validate(data)) == "1.250*"


def test_a_task_that_measures_no_rate_has_the_nominal_one(record):
    others = [m for m in record.metrics if m.name != "bits_per_pixel"]
    info = record.info.model_copy(update={"bits_per_image": 24_576.0, "resolution": 256})
    nominal = record.model_copy(update={"metrics": others, "info": info})
    assert rate(nominal) == "0.375"
    bound = info.model_copy(update={"bits_per_image": None, "kind": "bound"})
    assert rate(nominal.model_copy(update={"info": bound})) == "none"


def test_a_metric_without_values_has_no_table_of_its_own(record):
    psnr = next(c for c in modality_columns("recon") if c.metric == "psnr")
    data = json.loads(record.model_dump_json())
    for metric in data["metrics"]:
        if metric["name"] == "psnr":
            metric |= {"value": None, "reason": "no weights", "low": None, "high": None}
            metric |= {"replicates": None}
    assert modality_rows([Record.model_validate(data)], psnr) == []


def test_each_reason_is_said_once(record):
    marked = record.model_copy(update={"status": "suspect", "status_reason": "why"})
    assert reasons([marked, marked]).count(f"{record.full_name}: suspect: why") == 1


def test_a_reason_that_rows_share_is_said_of_all_of_them(record):
    def named(count):
        facts = {"variant": "v", "warnings": ["modified file: a.npz"]}
        return [record.model_copy(update={"tokenizer": f"t{n}", **facts}) for n in range(count)]

    assert "t0@v, t1@v, t2@v, t3@v: modified file: a.npz" in reasons(named(4))
    assert "t0@v, t1@v, t2@v and 3 others: modified file: a.npz" in reasons(named(6))


def test_markdown_escapes_bars():
    assert "a\\|b" in markdown_table([{"tokenizer": "a|b"}])


@pytest.mark.parametrize("control", sorted(CONTROLS))
def test_no_value_of_a_control_is_better(control):
    assert Column("overall").direction == "higher"
    assert Column("overall").heading.endswith("↑")
    assert Column("overall", control).direction == "none"
    assert "↑" not in Column("overall", control).heading
