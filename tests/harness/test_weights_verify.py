from __future__ import annotations

import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from medbench.harness.entries import TokenizerEntry, Variant
from medbench.harness.errors import UsageError, ValidationFailed
from medbench.harness.protocol import Encoding, TokenizerInfo
from medbench.harness.tokenizer_registry import TokenizerChoice, choose_tokenizer
from medbench.harness.weights_verify import verify


class Blend:
    """Gives an image back, blurred by `strength` where it is read otherwise than it was made."""

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.info = TokenizerInfo(name="blend", variant="x", kind="continuous")

    def encode(self, images):
        return Encoding(latents=images)

    def decode(self, encoding):
        grey = encoding.latents.mean(dim=(2, 3), keepdim=True)
        return encoding.latents * (1 - self.strength) + grey * self.strength


def _choice(monkeypatch, *, masked: float, unmasked: float, declared: bool) -> TokenizerChoice:
    module = types.ModuleType("blend_tokenizer")
    strengths = {True: masked, False: unmasked}
    module.build = lambda *, config, **_: Blend(strengths[config["causal"]])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = TokenizerEntry(
        name="blend",
        target="blend_tokenizer:build",
        kind="continuous",
        default_variant="x",
        summary="",
        variants={"x": Variant("", config={"causal": declared})},
        readings={"a mask": {"causal": True}, "no mask": {"causal": False}},
    )
    return TokenizerChoice(entry, "x")


def test_the_reading_that_reconstructs_better_is_named(monkeypatch):
    fit = verify(_choice(monkeypatch, masked=0.1, unmasked=0.4, declared=True))
    assert (fit.best.name, fit.problem) == ("a mask", None)
    assert fit.verdict == "fits: it is the network with a mask"


def test_a_file_that_is_read_as_the_other_network_is_a_problem(monkeypatch):
    fit = verify(_choice(monkeypatch, masked=0.4, unmasked=0.1, declared=True))
    assert fit.problem == "it fits the network with no mask, and blend@x reads it with a mask"


def test_readings_that_reconstruct_alike_are_not_told_apart(monkeypatch):
    fit = verify(_choice(monkeypatch, masked=0.2, unmasked=0.2001, declared=True))
    assert fit.verdict == "fits; these images cannot tell the readings apart"


def test_weights_no_better_than_the_mean_colour_are_a_problem(monkeypatch):
    fit = verify(_choice(monkeypatch, masked=1.0, unmasked=1.0, declared=False))
    assert fit.problem is not None
    assert "no better than the mean colour" in fit.problem


def test_both_masks_of_the_shipped_weights_are_tried():
    fit = verify(choose_tokenizer("meditok@tiny"))
    assert [reading.name for reading in fit.readings] == ["causal attention", "full attention"]
    assert [reading.declared for reading in fit.readings] == [True, False]
    assert fit.problem is None
    assert fit.best.psnr_db > fit.mean_colour_db + 5


@pytest.fixture
def command():
    import typer

    from medbench.harness.weights_cli import register

    app = typer.Typer()
    register(app)
    return lambda *words: CliRunner().invoke(app, ["weights", *words])


def test_untrained_weights_fail_the_command(command, tmp_path):
    from medbench.tokenizers.meditok import build

    network = build(variant="tiny").model
    generator = torch.Generator().manual_seed(0)
    noise = {
        key: torch.randn(value.shape, generator=generator) * 0.05
        for key, value in network.state_dict().items()
    }
    save_file(noise, tmp_path / "noise.safetensors")
    words = ("verify", "meditok@tiny", "--weights", str(tmp_path / "noise.safetensors"))
    found = command(*words)
    assert isinstance(found.exception, ValidationFailed)
    assert "no better than the mean colour" in found.output


def test_own_weights_without_a_name_are_refused(command, tmp_path):
    found = command("verify", "--weights", str(tmp_path / "x.pth"))
    assert isinstance(found.exception, UsageError)


def test_fetching_offline_says_what_it_would_fetch_and_refuses(command):
    found = command("fetch", "unitok@official", "--offline")
    assert "FoundationVision/unitok_tokenizer/unitok_tokenizer.pth" in found.output
    assert "licence: apache-2.0; 3.31 GB" in found.output
    assert "--offline" in str(found.exception)


def test_a_fetched_checkpoint_is_converted_once_and_used(command, monkeypatch, tmp_path):
    import huggingface_hub

    from medbench.harness.locate import locate
    from medbench.tokenizers.catalogue import OFFICIAL_WEIGHTS

    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))

    def download(repository, filename, *, revision, local_dir):
        path = local_dir / filename
        path.parent.mkdir(parents=True)
        torch.save({"model": {"a": torch.ones(2)}}, path)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = command("fetch", "meditok@official", "--yes")
    assert found.exit_code == 0, found.output
    path = locate(OFFICIAL_WEIGHTS, tokenizer="meditok@official")
    assert path.name == "meditok_simple_v1.pth.safetensors"
    assert not list(tmp_path.rglob("*.part"))
