from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

import medbench
from medbench.__main__ import invoke
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.tokenizer_registry import tokenizer_entries
from medbench.harness.training import cli, journal
from medbench.harness.training.checkpoint import load_latest
from medbench.harness.training.loop import Trainer
from medbench.harness.training.presets import find_preset, presets

SMALL: dict[str, Any] = {
    "recipe": "meditok",
    "model": {
        "model": "vitamin_test",
        "img_size": 64,
        "embed_dim": 16,
        "vocab_size": 256,
        "vocab_width": 16,
        "num_codebooks": 2,
        "quant_proj": "attn",
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
    "settings": {
        "steps": 6,
        "optimiser": {"learning_rate": 1e-3},
        "log_every": 2,
        "ema_decay": 0.5,
    },
    "data": {
        "source": {
            "kind": "pools",
            "pools": [{"source": "textures", "count": 4, "seed": 0, "size": 64}],
            "shares": [1.0],
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
        "side": 32,
        "batch_size": 2,
    },
    "codebooks": {"quantise_from": 2, "kmeans_batches": 2},
    "pixels": {"structure": 0.3},
}
STILL = {"learning_rate": 1e-12, "weight_decay": 0.0}
"""An optimiser that changes nothing of what half precision keeps."""
STAGES = {
    "first": {},
    "second": {
        "start": {"stage": "first"},
        "settings": {"steps": 1, "ema_decay": 0.0, "optimiser": STILL},
        "codebooks": {"quantise_from": 0, "kmeans_batches": 0},
    },
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """A folder of its own, with weights and without `curve.png`, which takes longer than a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "kept"))
    monkeypatch.setattr(journal, "draw_curve", lambda *_, **__: b"")
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Any]:
    app = typer.Typer()
    cli.register(app)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--device", "cpu"])


@pytest.fixture
def write(place) -> Callable[..., str]:
    def write_file(name: str = "small", **change: Any) -> str:
        path = place / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**SMALL, **change}, sort_keys=False))
        return str(path)

    return write_file


def test_a_run_ends_with_half_precision_weights_its_configuration_and_a_summary(run, write):
    result = run(write(), "--output", "out")
    assert result.exit_code == 0, result.output
    assert "weights: out/weights.safetensors" in result.output
    weights = load_file("out/weights.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.float16"}
    config = json.loads(Path("out/config.json").read_text())
    assert config["settings"]["steps"] == 6
    assert config["settings"]["optimiser"]["betas"] == [0.9, 0.95]
    assert len(Path("out/curve.jsonl").read_text().splitlines()) == 3
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["config"] == config
    buffers = ("vocab_usage", "zero_k_bias")
    trained = [v.numel() for k, v in weights.items() if not k.endswith(buffers)]
    assert summary["parameters"] == sum(trained)


def test_without_output_a_run_lies_below_runs_under_the_name_of_what_is_trained(run, write):
    assert run(write("mine")).exit_code == 0
    assert Path("runs/mine/weights.safetensors").exists()


def test_a_folder_with_a_run_is_not_overwritten(run, write):
    run(write(), "--output", "out")
    before = Path("out/weights.safetensors").read_bytes()
    result = run(write(), "--output", "out")
    assert isinstance(result.exception, UsageError)
    assert "--resume" in str(result.exception)
    assert Path("out/weights.safetensors").read_bytes() == before


def test_a_finished_run_is_resumed_by_doing_nothing(run, write, monkeypatch):
    run(write(), "--output", "out")
    monkeypatch.setattr(Trainer, "run", None)
    assert run(write(), "--output", "out", "--resume").exit_code == 0


def test_a_run_is_not_resumed_with_another_configuration(run, write):
    run(write(), "--output", "out")
    result = run(write(pixels={"l1": 0.5}), "--output", "out", "--resume")
    assert isinstance(result.exception, UsageError)
    assert "another configuration" in str(result.exception)


def test_a_finished_stage_is_skipped_and_the_next_one_trained(run, write):
    run(write(stages=STAGES), "--output", "out")
    whole = Path("out/second/weights.safetensors").read_bytes()
    first = Path("out/first/curve.jsonl").stat().st_mtime_ns
    for path in sorted(Path("out/second").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    result = run(write(stages=STAGES), "--output", "out", "--resume")
    assert result.exit_code == 0, result.output
    assert Path("out/second/weights.safetensors").read_bytes() == whole
    assert Path("out/first/curve.jsonl").stat().st_mtime_ns == first


def test_the_second_stage_starts_from_the_running_mean_of_the_first(run, write):
    result = run(write(stages=STAGES), "--output", "out")
    assert result.exit_code == 0, result.output
    assert "weights: out/second/weights.safetensors" in result.output
    started = load_file("out/second/weights.safetensors")
    first = load_latest(Path("out/first/checkpoints"))
    assert first is not None
    assert first.average is not None
    last = {k.removeprefix("core."): v.half() for k, v in first.model.items()}
    mean = {k.removeprefix("core."): v.half() for k, v in first.average.items()}
    names = [name for name in started if "vocab_usage" not in name]
    assert all(torch.equal(started[name], mean[name]) for name in names)
    assert not all(torch.equal(started[name], last[name]) for name in names)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"settings": {"stops": 3}}, r"second\.settings has unknown terms: stops"),
        ({"pixels": {"l9": 1.0}}, r"second\.pixels has unknown terms: l9"),
        ({"recipe": "medtok"}, "unknown recipe 'medtok'"),
        ({"model": {"num_codebook": 4}}, "num_codebook"),
        ({"settings": {"validate_every": 5}}, "validate_every is 5, and there is no section"),
        ({"settings": {"opponent": STILL}}, "second: `adversarial` .* go together"),
        ({"adversarial": {"kind": "patch"}}, "second: `adversarial` .* go together"),
        ({"start": {"stage": "frist"}}, "second needs frist, which is no earlier stage"),
        ({"start": {"stage": "second"}}, "second needs second, .* those are: first"),
    ],
)
def test_a_fault_of_a_later_stage_is_told_before_the_first_is_trained(run, write, second, said):
    result = run(write(stages={"first": {}, "second": second}), "--output", "out")
    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match=said):
        raise result.exception
    assert not Path("out").exists()


def test_a_dry_run_shows_every_stage_and_writes_nothing(run, write):
    result = run(write(stages=STAGES), "--output", "out", "--dry-run")
    assert result.exit_code == 0
    assert "first: recipe meditok" in result.output
    assert "second: recipe meditok" in result.output
    assert "starts from stage first" in result.output
    assert not Path("out").exists()


def test_a_dry_run_as_json_is_the_whole_configuration(run, write):
    shown = json.loads(run(write(stages=STAGES), "--dry-run", "--json").output)["stages"]
    assert list(shown) == ["first", "second"]
    assert shown["first"] == SMALL
    assert shown["second"]["settings"]["steps"] == 1
    assert shown["second"]["settings"]["log_every"] == 2


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("preset", ["paper", "paper/s1-v", "smoke", "small", "pumit-tiny"])
def test_a_dry_runs_json_is_a_configuration_of_the_same_stages(run, place, preset, suffix):
    file = place / f"echo.{suffix}"
    file.write_text(run(preset, "--dry-run", "--json").output)
    assert find_preset(str(file)).stages() == presets()[preset].stages()


def test_the_configuration_that_a_run_echoes_trains_the_same(run, write, place):
    assert run(write(), "--output", "out").exit_code == 0
    echoed = (place / "out" / "config.json").read_text()
    assert "e-06" in echoed  # which YAML 1.1 takes for a text
    (place / "echo.yaml").write_text(echoed)
    result = run("echo.yaml", "--output", "again")
    assert result.exit_code == 0, result.output
    again = (place / "again" / "weights.safetensors").read_bytes()
    assert again == (place / "out" / "weights.safetensors").read_bytes()
    assert json.loads((place / "again" / "config.json").read_text()) == json.loads(echoed)


def test_terms_are_changed_on_the_command_line(run, write):
    given = ("--set", "settings.log_every=1", "--set", "second.pixels={l1: 3e-1}")
    shown = json.loads(run(write(stages=STAGES), "--dry-run", "--json", *given).output)["stages"]
    assert {name: each["settings"]["log_every"] for name, each in shown.items()} == {
        "first": 1,
        "second": 1,
    }
    assert [shown[name]["pixels"].get("l1") for name in ("first", "second")] == [None, 0.3]


def test_an_unknown_term_on_the_command_line_is_refused(run, write):
    result = run(write(stages=STAGES), "--output", "out", "--set", "second.settings.stops=3")
    assert "second.settings has unknown terms: stops" in str(result.exception)
    assert not Path("out").exists()


NOWHERE = {"kind": "dataset", "dataset": "manifest:/nowhere/list.csv", "caption": "caption"}


def test_all_that_is_missing_for_any_stage_is_told_before_the_first_is_trained(run, write):
    second = {
        "start": {"weights": "/nowhere/start.safetensors"},
        "data": {"source": {"kind": "mixture", "sources": [NOWHERE, {"kind": "films"}]}},
        "settings": {"opponent": STILL},
        "perceptual": {"kind": "lpips-vgg", "weight": 1.0, "weights": "/nowhere/vgg.pth"},
        "adversarial": {"kind": "dino", "discriminator": {"weights": "/nowhere/dino.pth"}},
        "alignment": {
            "teacher": {"name": "biomedclip", "weights": "/nowhere/clip"},
            "side": "text",
            "weight": 1.0,
        },
        "validation": {
            "source": {"kind": "dataset", "dataset": "folder:/nowhere/val"},
            "probe": {
                "fit": {"kind": "dataset", "dataset": "folder:/nowhere/fit"},
                "test": {"kind": "dataset", "dataset": "folder:/nowhere/test"},
            },
        },
    }
    second["data"]["source"] |= {"shares": [1, 1], "pools": None, "augmentation": None}
    third = {"perceptual": second["perceptual"], "start": {"stage": "second"}}
    path = write(stages={"first": {}, "second": second, "third": third})
    result = run(path, "--output", "out")
    assert isinstance(result.exception, UsageError)
    told = str(result.exception).splitlines()
    ends = ["start", "list", "vgg", "dino", "clip", "val", "fit", "test"]
    for name in ends:
        assert sum(f"/nowhere/{name}" in line for line in told) == 1, (name, told)
    assert sum("sources[1].kind is 'films'" in line for line in told) == 1
    assert len(told) == 1 + len(ends) + 1
    assert any(line.startswith("  second, third: lpips-vgg") for line in told)
    assert not Path("out").exists()
    shown = run(path, "--dry-run")
    assert shown.exit_code == 0, shown.exception
    here = shown.output.splitlines()
    assert here[here.index("missing here:") + 1 :] == told[1:]


def test_missing_data_alone_are_a_missing_prerequisite(run, write):
    second = {"data": {"source": {**NOWHERE, "pools": None, "shares": None, "augmentation": None}}}
    result = run(write(stages={"first": {}, "second": second}), "--output", "out")
    assert isinstance(result.exception, MissingPrerequisite)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "source", [SMALL["data"]["source"], {"kind": "dataset", "dataset": "medsynth@val", "limit": 1}]
)
def test_images_without_captions_for_a_later_stage_are_told_before(run, write, source):
    teacher = {"name": "biomedclip", "weights": "untrained"}
    second = {
        "data": {"source": {**dict.fromkeys(SMALL["data"]["source"]), **source}},
        "alignment": {"teacher": teacher, "side": "text", "weight": 1.0},
    }
    result = run(write(stages={"first": {}, "second": second}), "--output", "out")
    assert "second: data.source: the images have no captions" in str(result.exception)
    assert not Path("out").exists()


def test_a_list_of_another_length_than_a_later_stages_epoch_is_told_before(run, write):
    source = {"kind": "dataset", "dataset": "medsynth@val", "limit": 1}
    second = {"data": {"epoch_images": 500, "source": dict.fromkeys(SMALL["data"]["source"])}}
    second["data"]["source"] |= source
    result = run(write(stages={"first": {}, "second": second}), "--output", "out")
    assert "second: data.source has 9 images, and data.epoch_images" in str(result.exception)
    assert not Path("out").exists()


def test_a_finished_stage_needs_nothing_any_more(run, write, place):
    file = place / "start.safetensors"
    run(write(), "--output", "first")
    file.write_bytes((place / "first" / "weights.safetensors").read_bytes())
    stages = {"one": {"start": {"weights": str(file)}}, "two": {"settings": {"steps": 1}}}
    assert run(write(stages=stages), "--output", "out").exit_code == 0
    file.unlink()
    (place / "out" / "two" / "summary.json").unlink()
    assert run(write(stages=stages), "--output", "out", "--resume").exit_code == 0


def test_what_changes_no_number_may_be_changed_when_a_run_is_resumed(run, write, place):
    run(write(), "--output", "out")
    (place / "out" / "summary.json").unlink()
    harmless = ("log_every=1", "checkpoint_seconds=1", "disk_patience_seconds=1", "workers=1")
    given = [word for each in harmless for word in ("--set", f"settings.{each}")]
    result = run(write(), "--output", "out", "--resume", *given)
    assert result.exit_code == 0, result.exception
    assert json.loads(Path("out/summary.json").read_text())["config"]["settings"]["workers"] == 1
    for harmful in ("seed=1", "threads=1", "precision=bf16", "ema_decay=0.25"):
        changed = ("--set", f"settings.{harmful}")
        refused = run(write(), "--output", "out", "--resume", *changed)
        assert "another configuration" in str(refused.exception), harmful


def test_a_checkpoints_weights_are_a_start(run, write, place):
    run(write(), "--output", "out")
    (kept,) = (place / "out" / "checkpoints").glob("step-*/average.safetensors")
    change = {"settings": STAGES["second"]["settings"], "codebooks": {"quantise_from": 0}}
    change["settings"] = {**SMALL["settings"], **change["settings"]}
    result = run(write(**change, start={"weights": str(kept)}), "--output", "on")
    assert result.exit_code == 0, result.exception
    started, left = (load_file(place / each / "weights.safetensors") for each in ("on", "out"))
    names = [name for name in started if "vocab_usage" not in name]
    assert all(torch.equal(started[name], left[name]) for name in names)


def test_json_without_a_dry_run_is_refused(run, write):
    assert "--json goes with --dry-run" in str(run(write(), "--json").exception)


def test_a_dry_run_refuses_a_wrong_configuration(run, write):
    result = run(write(settings={"steps": 5}), "--dry-run")
    assert "train.settings lacks optimiser" in str(result.exception)


def test_the_list_names_every_preset_with_its_summary(run):
    lines = run("--list").output.splitlines()
    assert any(line.split()[0] == "paper" and "as its paper trains it" in line for line in lines)
    assert any(line.split()[0] == "vqgan-tiny" for line in lines)


def test_nothing_to_train_is_told(run):
    assert "medbench train --list" in str(run().exception)


def test_a_registered_run_is_a_variant_like_any_other(run, write, capsys):
    result = run(write(), "--output", "out", "--register", "mine")
    assert result.exit_code == 0, result.output
    assert "registered: meditok@mine" in result.output
    ours = medbench.load_tokenizer("meditok@mine")
    expected = medbench.load_tokenizer(
        "meditok", config=SMALL["model"], weights="out/weights.safetensors"
    )
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    made = [each.decode(each.encode(images)) for each in (ours, expected)]
    assert torch.equal(*made)
    assert invoke(["list", "tokenizers"]) == 0
    assert "meditok@mine" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def registry():
    tokenizer_entries.cache_clear()
    yield
    tokenizer_entries.cache_clear()


@pytest.mark.parametrize(
    ("name", "said"),
    [("tiny", "published"), ("taken", "registered already"), ("My Name", "cannot name a variant")],
)
def test_a_name_that_cannot_be_had_is_refused_before_anything_is_trained(
    run, write, place, name, said
):
    (place / "kept" / "registered" / "meditok" / "taken").mkdir(parents=True)
    result = run(write(), "--output", "out", "--register", name)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)
    assert not Path("out").exists()


def test_a_run_that_ends_with_no_tokenizer_cannot_be_registered(run):
    result = run("teacher-micro", "--output", "out", "--register", "mine")
    assert "--register needs a run that ends with a tokenizer, not with miniature" in str(
        result.exception
    )
    assert not Path("out").exists()


@pytest.mark.slow
def test_the_smoke_preset_goes_through_every_part_of_the_trainer(run):
    result = run("smoke", "--output", "out", "--register", "smoke")
    assert result.exit_code == 0, result.output
    lines = Path("out/stage2/curve.jsonl").read_text().splitlines()
    terms = set().union(*(json.loads(line) for line in lines))
    assert len(terms) > 5
    made = medbench.load_tokenizer("meditok@smoke").encode(torch.rand(1, 3, 64, 64))
    assert made.indices is not None
