from __future__ import annotations

import csv
import json

import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from medbench.harness.audit.cli import register
from medbench.harness.errors import UsageError


@pytest.fixture
def medbench():
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["audit", *map(str, arguments)])
        if isinstance(result.exception, Exception):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def split_set(tmp_path, picture, copies, save):
    """One picture in train and, recompressed, in test; another in test only."""
    root = tmp_path / "set"
    save(root / "train" / "a.png", picture("endoscopy", 0))
    save(root / "test" / "b.png", copies["jpeg60"](picture("endoscopy", 0)))
    save(root / "test" / "c.png", picture("endoscopy", 1))
    return root


def test_exit_code_is_one_where_splits_share_a_picture(medbench, split_set):
    result = medbench(split_set)
    assert result.exit_code == 1
    assert "train/a.png" in result.stdout
    assert "Contaminated" in result.stdout
    assert "Patients unknown" in result.stdout


def test_exit_code_is_zero_for_duplicates_inside_one_split(medbench, tmp_path, picture, save):
    for name in "ab":
        save(tmp_path / "set" / f"{name}.png", picture("ct", 0))
    result = medbench(tmp_path / "set", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["pairs"][0]["relation"] == "within a split"


def test_json_is_the_file_that_output_writes(medbench, split_set, tmp_path):
    result = medbench(split_set, "--json", "--output", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout) == written
    assert written["contaminated"]
    assert written["rule"]["correlation_threshold"] == 0.86


def test_csv_has_one_row_per_pair(medbench, split_set, tmp_path):
    medbench(split_set, "--output", tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["first_id"], row["second_id"]) == ("test/b.png", "train/a.png")
    assert float(row["correlation"]) > 0.86


def test_another_suffix_is_refused_before_anything_is_read(medbench, split_set, tmp_path):
    with pytest.raises(UsageError, match=r"\.txt"):
        medbench(split_set, "--output", tmp_path / "pairs.txt")


def test_exclusions_keep_the_trained_image_and_carry_a_version(medbench, split_set, tmp_path):
    versions = []
    for _ in "ab":
        medbench(split_set, "--exclusions", tmp_path / "leave.yaml")
        listed = yaml.safe_load((tmp_path / "leave.yaml").read_text(encoding="utf-8"))
        versions.append(listed["version"])
        (one,) = listed["exclude"]
        assert (one["id"], one["split"]) == ("test/b.png", "test")
        assert one["same_as"].endswith("[train] train/a.png")
    assert versions[0] == versions[1]


def test_exclusions_against_a_private_folder_list_the_public_image(
    medbench, split_set, tmp_path, picture, save
):
    save(tmp_path / "mine" / "secret.png", picture("endoscopy", 1))
    result = medbench(
        split_set, "--against", tmp_path / "mine", "--exclusions", tmp_path / "leave.yaml"
    )
    assert result.exit_code == 1
    text = (tmp_path / "leave.yaml").read_text(encoding="utf-8")
    assert "secret" not in text + result.stdout
    listed = {one["id"]: one for one in yaml.safe_load(text)["exclude"]}
    assert set(listed) == {"test/b.png", "test/c.png"}
    assert listed["test/c.png"]["same_as"] == "private #1"


@pytest.mark.parametrize(("options", "grey"), [((), True), (("--show-private",), False)])
def test_the_sheet_hides_private_pixels_unless_asked(
    medbench, tmp_path, picture, save, options, grey
):
    save(tmp_path / "public" / "a.png", picture("pathology", 0))
    save(tmp_path / "mine" / "b.png", picture("pathology", 0))
    sheet = tmp_path / "sheet.png"
    medbench(tmp_path / "public", "--against", tmp_path / "mine", "--sheet", sheet, *options)
    with Image.open(sheet) as drawn:
        left, right = drawn.crop((0, 0, 160, 160)), drawn.crop((160, 0, 320, 160))
    assert len(left.getcolors(99999) or []) > 100
    assert (right.getcolors(99999) == [(160 * 160, (128, 128, 128))]) == grey
    assert (left.tobytes() == right.tobytes()) != grey


def test_unreadable_files_are_named_in_the_report(medbench, split_set):
    (split_set / "train" / "bad.png").write_bytes(b"nothing")
    result = medbench(split_set)
    assert "Not readable: 1" in result.stdout
    assert "train/bad.png" in result.stdout


def test_help_is_light():
    import subprocess
    import sys

    code = (
        "import sys, medbench.harness.audit.cli;"
        "print(sorted({'torch', 'scipy', 'PIL', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
