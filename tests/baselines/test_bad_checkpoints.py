"""Checkpoints that are wrong, damaged or absent, for all seven tokenizers alike."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

import medbench
from medbench.__main__ import invoke
from medbench.harness.entries import HubFile
from medbench.harness.errors import ExitCode, MissingPrerequisite, UsageError
from medbench.harness.tokenizer_registry import tokenizer_entries

ON_THE_HUB = ["meditok", "unitok", "tokenflow", "emu3-vq", "medvae"]
BY_HAND = ["vqgan", "pumit"]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    images: torch.Tensor

    def load(self, weights: Path | dict[str, torch.Tensor]) -> Any:
        return medbench.load_tokenizer(self.name, config=self.config, weights=weights)

    def latents(self, weights: Path | dict[str, torch.Tensor]) -> torch.Tensor:
        return self.load(weights).encode(self.images).latents


@pytest.fixture
def case(published, golden) -> Case:
    example = golden(published)
    side = example.outputs["x"].shape[-1]
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))
    return Case(published, example.config, example.weights, images)


@pytest.fixture(autouse=True)
def weights_root(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def _refused(case: Case, weights: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        case.load(weights)
    assert str(caught.value).startswith(f"{case.name}@custom: ")
    assert "--config" in str(caught.value)


def test_the_checkpoint_of_another_model_is_refused(case, golden):
    other = golden("pumit" if case.name != "pumit" else "vqgan").weights
    _refused(case, other, "does not fit the network: .*checkpoint of another model")


def test_a_network_of_another_size_is_refused(case):
    key = max(case.weights, key=lambda key: case.weights[key].numel())
    assert not key.startswith("text_encoder.")
    other = case.weights | {key: torch.zeros(2, *case.weights[key].shape[1:])}
    _refused(case, other, rf"of another shape or kind: {key} \(2,.* instead of")


def test_small_weights_for_the_published_network_are_refused(case):
    with pytest.raises(UsageError, match=r"does not fit the network|none of the published"):
        medbench.load_tokenizer(f"{case.name}@official", weights=case.weights)


def test_extra_heads_are_refused_by_name(case, tmp_path, capsys):
    heads = {"head.weight": torch.zeros(2, 2), "head.bias": torch.zeros(2)}
    message = "unknown to this network: head.weight, head.bias"
    _refused(case, case.weights | heads, message)
    path = tmp_path / "heads.safetensors"
    save_file(case.weights | heads, path)
    words = ["validate", case.name, "--weights", str(path), "--config", json.dumps(case.config)]
    assert invoke(words) == ExitCode.USAGE
    assert "unknown to this network: head." in capsys.readouterr().err


def test_lost_and_broken_tensors_are_named(case):
    key = next(key for key in reversed(case.weights) if key.startswith("decoder."))
    rest = {other: value for other, value in case.weights.items() if other != key}
    _refused(case, rest, f"missing: {key}")
    with pytest.raises(UsageError, match=f"not finite, in: {key}"):
        case.load(rest | {key: torch.full_like(case.weights[key], torch.nan)})


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_refused_by_name(case, tmp_path, suffix, capsys):
    path = tmp_path / f"cut{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(case.weights, path)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(UsageError, match=f"cut{suffix}"):
        case.load(path)
    words = ["validate", case.name, "--weights", str(path), "--config", json.dumps(case.config)]
    assert invoke(words) == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_run_in_float32(case, tmp_path, dtype):
    path = tmp_path / "half.safetensors"
    rounded = {k: v.to(dtype) if v.is_floating_point() else v for k, v in case.weights.items()}
    save_file(rounded, path)
    exact = {k: v.float() if v.is_floating_point() else v for k, v in rounded.items()}
    found = case.latents(path)
    assert found.dtype == torch.float32
    assert torch.equal(found, case.latents(exact))


def test_a_sharded_checkpoint_is_one_checkpoint(case, tmp_path):
    expected = case.latents(case.weights)
    index = tmp_path / "model.safetensors.index.json"
    parts = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    shard_of = {key: parts[place % 2] for place, key in enumerate(case.weights)}
    for part in parts:
        save_file({k: v for k, v in case.weights.items() if shard_of[k] == part}, tmp_path / part)
    index.write_text(json.dumps({"weight_map": shard_of}))
    assert torch.equal(case.latents(index), expected)
    (tmp_path / parts[1]).unlink()
    with pytest.raises(UsageError, match=f"shards are missing: {parts[1]}"):
        case.load(index)


def _published(name: str) -> HubFile:
    source = tokenizer_entries()[name].variants["official"].weights
    assert isinstance(source, HubFile)
    return source


def _placed(root: Path, source: HubFile, content: bytes = b"weights") -> Path:
    path = root / source.repository / source.filename
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_another_content_than_the_pinned_one_is_refused(name, monkeypatch, weights_root, capsys):
    variants, source = tokenizer_entries()[name].variants, _published(name)
    pinned = replace(variants["official"], weights=replace(source, sha256="0" * 64))
    monkeypatch.setitem(variants, "official", pinned)
    _placed(weights_root, source)
    with pytest.raises(UsageError, match=r"damaged or another file.*expected 0000"):
        medbench.load_tokenizer(f"{name}@official")
    assert invoke(["validate", f"{name}@official"]) == ExitCode.USAGE
    assert "expected 0000" in capsys.readouterr().err


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_content_that_changed_since_its_first_use_is_refused(name, weights_root):
    path = _placed(weights_root, _published(name))
    with pytest.raises(UsageError, match=path.name):
        medbench.load_tokenizer(f"{name}@official")
    path.write_bytes(b"others")
    with pytest.raises(UsageError, match="when it was first used here"):
        medbench.load_tokenizer(f"{name}@official")


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_without_a_network_fetching_leaves_nothing(name, monkeypatch, weights_root, capsys):
    def no_route(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr(socket.socket, "connect", no_route)
    monkeypatch.setattr(socket, "getaddrinfo", no_route)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the hub's own attempts
    assert invoke(["weights", "fetch", f"{name}@official", "--yes"]) == 3
    assert "could not be downloaded" in capsys.readouterr().err
    left = [path for path in weights_root.rglob("*") if path.is_file()]
    assert all(".cache" in path.parts and path.stat().st_size < 1000 for path in left)
    with pytest.raises(MissingPrerequisite, match=f"weights fetch {name}@official"):
        medbench.load_tokenizer(f"{name}@official")


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_download_that_breaks_off_is_not_taken_for_the_file(name, monkeypatch, weights_root):
    def breaks_off(_repository, filename, *, revision, local_dir):
        part = local_dir / ".cache" / "huggingface" / "download" / f"{filename}.incomplete"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"wei")
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off)
    assert invoke(["weights", "fetch", f"{name}@official", "--yes"]) == 3
    assert not (weights_root / "weights.lock.json").exists()
    with pytest.raises(MissingPrerequisite, match="not on this machine"):
        medbench.load_tokenizer(f"{name}@official")


@pytest.mark.parametrize("name", ["meditok", "unitok", "tokenflow", "medvae"])
def test_a_damaged_download_is_not_converted(name, monkeypatch, weights_root, capsys):
    source = _published(name)

    def damaged(_repository, _filename, *, revision, local_dir):
        return str(_placed(weights_root, source, b"PK\x03\x04 and no more"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", damaged)
    assert invoke(["weights", "fetch", f"{name}@official", "--yes"]) == ExitCode.USAGE
    assert Path(source.filename).name in capsys.readouterr().err
    left = {path.name for path in weights_root.rglob("*") if path.is_file()}
    assert left == {Path(source.filename).name, "weights.lock.json"}


@pytest.mark.parametrize("name", BY_HAND)
def test_weights_that_no_command_fetches_say_where_they_are(name, capsys):
    assert invoke(["weights", "fetch", f"{name}@official", "--yes"]) == ExitCode.USAGE
    assert "by hand, then pass --weights PATH" in capsys.readouterr().err
    assert invoke(["validate", f"{name}@official"]) == ExitCode.MISSING_PREREQUISITE
    assert f"{name}@tiny" in capsys.readouterr().err


def test_a_slip_in_a_name_is_answered_with_the_right_one(published, capsys):
    name = published
    for wrong, right in ((f"{name[:-1]}x", name), (f"{name}@oficial", "official")):
        for words in (["validate", wrong], ["weights", "fetch", wrong]):
            assert invoke(words) == ExitCode.USAGE
            assert right in capsys.readouterr().err.partition("Did you mean")[2]


@pytest.mark.parametrize("family", ["diffusers", "hf"])
def test_a_slip_in_a_hub_name_is_not_there(family, capsys):
    code = invoke(["validate", f"{family}:BAAI/Emu3-VisionTokeniser"])
    assert code == ExitCode.MISSING_PREREQUISITE
    assert "BAAI/Emu3-VisionTokeniser" in capsys.readouterr().err
