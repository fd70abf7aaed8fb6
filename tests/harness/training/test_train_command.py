from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from medbench.harness.errors import UsageError
from medbench.harness.training import cli, presets
from medbench.harness.training.presets import PRESETS, Preset, find_preset, read_config

SMALL = {
    "model": {
        "embed_dim": 16,
        "vocab_size": 256,
        "vocab_width": 16,
        "num_codebooks": 2,
        "variant": {
            "stem_width": 8,
            "stage_dims": [8, 8, 16],
            "stage_depths": [1, 1],
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "decoder_dims": [16, 8, 8],
            "decoder_depths": [1, 1],
        },
    },
    "settings": {"steps": 6, "learning_rate": 1e-3, "log_every": 2, "ema_decay": 0.9},
    "plan": {
        "pools": [{"source": "textures", "count": 4, "seed": 0, "size": 64}],
        "shares": [1.0],
        "crop": 32,
        "batch_size": 2,
        "whole": 64,
        "whole_from": 5,
        "quantise_from": 2,
        "revive_until": 6,
        "revive_every": 1,
        "l1": 0.2,
        "l2": 1.0,
        "log_l2": 0.1,
        "coarse": 0.05,
        "chroma": 0.1,
        "chroma_from": 3,
        "structure": 0.3,
        "augmentation": {
            "natural_scale": 0.5,
            "zoom": [0.5, 1.6],
            "blend": 0.1,
            "grey": 0.2,
            "duotone": 0.3,
            "shift": 0.5,
            "invert": 0.1,
            "gamma": 0.5,
            "contrast": 0.5,
        },
    },
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    recipe = PRESETS["meditok-tiny"].recipe
    monkeypatch.setitem(presets.PRESETS, "small", Preset(recipe, path, "for tests"))
    app = typer.Typer()
    app.command()(cli.train)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_run_ends_with_half_precision_weights_and_its_configuration(run, tmp_path) -> None:
    place = tmp_path / "out"
    result = run("small", "--output", str(place))
    assert result.exit_code == 0, result.output
    weights = load_file(place / "weights.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.float16"}
    config = json.loads((place / "config.json").read_text())
    assert config["settings"]["steps"] == 6
    assert len((place / "curve.jsonl").read_text().splitlines()) == 3


def test_a_folder_with_a_run_is_not_overwritten(run, tmp_path) -> None:
    place = tmp_path / "out"
    run("small", "--output", str(place))
    result = run("small", "--output", str(place))
    assert isinstance(result.exception, UsageError)
    assert "--resume" in str(result.exception)
    assert run("small", "--output", str(place), "--resume").exit_code == 0


def test_a_dry_run_shows_the_whole_configuration_and_writes_nothing(run, tmp_path) -> None:
    result = run("small", "--output", str(tmp_path / "out"), "--dry-run")
    shown = json.loads(result.output)
    assert shown["plan"]["crop"] == 32
    assert shown["plan"]["structure"] > 0
    assert shown["settings"]["betas"] == [0.9, 0.95]
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_is_answered_with_near_names() -> None:
    with pytest.raises(UsageError, match="Did you mean: meditok-tiny"):
        find_preset("meditok-tyni")


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1", "must be a YAML mapping"), ("a: [", "cannot read"), ("plan: {}", "settings")],
)
def test_files_that_are_no_training_configuration_are_refused(tmp_path, text, message) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"steps": 5}, "lack learning_rate"), ({"step": 5}, "unknown training settings: step")],
)
def test_wrong_settings_are_named(values, message) -> None:
    with pytest.raises(UsageError, match=message):
        cli.read_settings(values)


def test_listing_presets_needs_no_torch() -> None:
    code = (
        "import sys, medbench.harness.training.cli, medbench.harness.training.presets as p;"
        "[p.read_config(each.config) for each in p.PRESETS.values()];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
