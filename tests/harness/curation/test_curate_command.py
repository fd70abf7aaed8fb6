from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from medbench.harness.curation.cli import register
from medbench.harness.errors import UsageError


@pytest.fixture
def invoke():
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)

    def go(*arguments):
        return CliRunner().invoke(app, ["curate", *map(str, arguments)], catch_exceptions=True)

    return go


@pytest.fixture
def images(tmp_path, texture, planted_images):
    root = tmp_path / "set" / "xray"
    root.mkdir(parents=True)
    Image.fromarray(texture()).save(root / "good.png")
    Image.fromarray(planted_images["palette"]).save(root / "poster.png")
    return root.parent


def test_text_says_what_was_rejected_and_json_says_the_same(tmp_path, invoke, images):
    text = invoke(images, "--out", tmp_path / "out", "--workers", 1)
    assert text.exit_code == 0
    assert "set: 1 of 2 kept\n  palette: 1\n" in text.stdout
    report = json.loads(invoke(images, "--output", tmp_path / "out", "--json").stdout)
    assert (report["candidates"], report["kept"], report["rejected"]) == (2, 1, {"palette": 1})
    assert report["thresholds"]["captions"]["minimum_characters"] == {
        "value": 80,
        "source": "paper",
    }


def test_own_thresholds_and_keywords_are_used(tmp_path, invoke, images, texture):
    from medbench.harness.curation.thresholds import FILE

    own = tmp_path / "own.yaml"
    own.write_text(FILE.read_text().replace("palette:\n    value: 32", "palette:\n    value: 8"))
    result = invoke(images, "--out", tmp_path / "out", "--thresholds", own, "--json")
    assert json.loads(result.stdout)["kept"] == 2
    (tmp_path / "t.csv").write_text(
        f"path,modality,caption\nset/xray/good.png,xray,{'zebra ' * 20}\n"
    )
    for word, kept in (("zebra", 1), ("horse", 0)):
        arguments = ("--captions", "--keywords", word, "--json", "--out", tmp_path / word)
        assert json.loads(invoke(tmp_path / "t.csv", *arguments).stdout)["kept"] == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rules", "sa-med2d", "--format", "wds"), "writes folders"),
        (("--masks", "m"), "goes with --rules sa-med2d"),
        (("--keywords", "ct"), "goes with --captions"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, invoke, images, arguments, message):
    result = invoke(images, "--out", tmp_path / "out", *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


@pytest.mark.parametrize("arguments", [("--rules", "mine"), ("--workers", 0), ("--preset", "x")])
def test_unknown_values_end_with_a_usage_error(tmp_path, invoke, images, arguments):
    assert invoke(images, "--out", tmp_path / "out", *arguments).exit_code == 2


def test_the_command_line_is_ready_without_heavy_imports():
    code = (
        "import sys, medbench.harness.curation.cli; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'PIL', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
