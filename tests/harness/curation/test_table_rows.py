from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from medbench.harness.curation.table_rows import table_units
from medbench.harness.errors import UsageError

ROWS = [
    {
        "path": "a.png",
        "modality": "X-Ray",
        "caption": "first",
        "tags": "chest; frontal",
        "primary_label": '["Clinical Imaging"]',
        "secondary_label": "ultrasound|eye",
        "patient": "p1",
        "split": "train",
    },
    {
        "path": "a.png",
        "id": "second",
        "modality": "MR",
        "caption": "",
        "tags": "",
        "primary_label": "",
        "secondary_label": "",
        "patient": "",
        "split": "test",
    },
]


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def table(request, tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    frame = pd.DataFrame(ROWS).fillna("")
    path = tmp_path / f"t.{request.param}"
    if request.param == "csv":
        frame.to_csv(path, index=False)
    elif request.param == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


def test_the_three_forms_of_a_table_say_the_same(table):
    first, second = table_units(table, "t")
    assert (first.name, first.modality, first.caption, first.patient) == (
        "a.png",
        "xray",
        "first",
        "p1",
    )
    assert first.tags == ("chest", "frontal")
    assert first.primary_labels == ("Clinical Imaging",)
    assert first.secondary_labels == ("ultrasound", "eye")
    assert (second.name, second.modality, second.caption, second.tags) == (
        "second",
        "mri",
        None,
        (),
    )
    assert first.problem is second.problem is None


def test_one_split_can_be_asked_for(table):
    assert [unit.name for unit in table_units(table, "t", split="test")] == ["second"]
    with pytest.raises(UsageError, match="no row has split 'val'"):
        table_units(table, "t", split="val")


def test_a_repeated_name_costs_the_later_row_only(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,modality\na.png,ct\na.png,ct\n")
    first, second = table_units(tmp_path / "t.csv", "t")
    assert first.problem is None
    assert second.problem == (
        "t.csv: row 2: 'a.png' occurs more than once; ids (or paths) must differ"
    )


def test_an_absolute_path_does_not_show_in_the_name(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f"path,modality\n{tmp_path}/a.png,ct\n")
    (unit,) = table_units(tmp_path / "t.csv", "t")
    assert unit.name == "1-a.png"
    assert unit.problem is None


def test_a_window_that_is_none_is_the_problem_of_its_row(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,modality,window_low,window_high\na.png,ct,5,1\n")
    (unit,) = table_units(tmp_path / "t.csv", "t")
    assert "row 1: window_low 5 is not below" in unit.problem
