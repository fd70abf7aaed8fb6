from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pickle
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medbench.harness.errors import UsageError
from medbench.harness.weights import load_into, read_state_dict, unwrap
from medbench.harness.weights_lock import original_sha256

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


class RunsCode:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (self.folder,))


def _network() -> nn.Module:
    return nn.Linear(3, 2)


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_and_safetensors_files_give_the_same_tensors(tmp_path, legacy):
    torch.save(STATE, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    save_file(STATE, tmp_path / "a.safetensors")
    save_file(STATE, tmp_path / "no_extension")
    for name in ("a.pth", "a.safetensors", "no_extension"):
        found = read_state_dict(tmp_path / name)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE},
        {"model": STATE, "ema": {"weight": torch.zeros(1)}, "epoch": 3},
        {"module": STATE},
        {"ema": STATE},
        {"args": {"dtype": torch.bfloat16}, "trainer": {"unitok": STATE}},
        {"trainer": {"config": {}, "model": {f"core.{k}": v for k, v in STATE.items()}}},
        {"state_dict": {f"module.{k}": v for k, v in STATE.items()}},
        {"model": {f"module._orig_mod.{k}": v for k, v in STATE.items()}},
        {"state_dict": collections.OrderedDict(STATE), "hparams": argparse.Namespace(lr=1)},
    ],
    ids=["state_dict", "model", "module", "ema", "unitok", "core", "parallel", "compiled", "args"],
)
def test_wrappers_of_known_trainers_are_taken_off(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").keys() == STATE.keys()


def test_parts_beside_a_prefixed_tokenizer_are_kept():
    content = {"core.weight": torch.ones(1), "text_encoder.weight": torch.ones(1)}
    assert set(unwrap(content, name="a")) == {"weight", "text_encoder.weight"}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, legacy):
    path, folder = tmp_path / "bad.pth", tmp_path / "made"
    content = {"state_dict": STATE, "extra": RunsCode(str(folder))}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UsageError, match=r"refused unread.*mkdir"):
        read_state_dict(path)
    assert not folder.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["bad.pth", "bad.bin", "bad.safetensors", "bad.ckpt", "bad"])
def test_a_plain_pickle_is_never_run_whatever_its_name(tmp_path, name):
    folder = tmp_path / "made"
    (tmp_path / name).write_bytes(pickle.dumps(RunsCode(str(folder))))
    with pytest.raises(UsageError):
        read_state_dict(tmp_path / name)
    assert not folder.exists()


def _torch_bytes(*, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1000)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint at all, only some text",
        bytes(range(256)) * 8,
        _torch_bytes()[:1500],
        _torch_bytes(legacy=True)[:1500],
        _torch_bytes()[-1500:],
        b"PK\x03\x04",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        b"\x10\x00\x00\x00\x00\x00\x00\x00{broken",
        b"\xff" * 8 + b"{}",
        b"<html><body>404</body></html>",
    ],
    ids=[
        "empty",
        "text",
        "bytes",
        "cut zip",
        "cut legacy",
        "tail",
        "zip head",
        "lfs",
        "cut header",
        "huge header",
        "html",
    ],
)
def test_damaged_files_are_a_usage_error_that_names_the_file(tmp_path, suffix, content):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"damaged{suffix}"):
        read_state_dict(path)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(UsageError, match="is a folder"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(2), "text"])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"a\.pth: "):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_widths_become_float32(dtype):
    network = _network()
    load_into(network, {key: value.to(dtype) for key, value in STATE.items()}, name="n")
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight.detach(), STATE["weight"])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": STATE["weight"]}, "1 of 2 tensors match.*missing: bias"),
        (STATE | {"extra": torch.ones(1)}, "unknown to this network: extra"),
        (STATE | {"bias": torch.ones(3)}, r"bias \(3,\) instead of \(2,\)"),
        (STATE | {"bias": torch.ones(2).long()}, "bias torch.int64 instead of torch.float32"),
        (STATE | {"bias": torch.ones(2, dtype=torch.complex64)}, "bias torch.complex64"),
        (STATE | {"bias": torch.tensor([1, torch.nan])}, r"finite, in: bias \(1 of 2 values\)"),
        (STATE | {"bias": torch.tensor([torch.inf, 1])}, "not finite"),
        ({"conv": torch.ones(1)}, "0 of 2 tensors match. It is a checkpoint of another model"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_loaded(state, message):
    network = _network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UsageError, match=f"name@v: .*{message}"):
        load_into(network, state, name="name@v")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_only_the_first_few_misfits_are_listed():
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(UsageError, match=r"missing: .* and 15 more"):
        load_into(network, {"0.other": torch.ones(1)}, name="n")


def test_large_finite_values_are_no_mistake():
    network = _network()
    load_into(network, STATE | {"bias": torch.tensor([3e38, 3e38])}, name="n")
    assert torch.equal(network.bias.detach(), torch.tensor([3e38, 3e38]))


def test_named_exceptions_are_allowed():
    network = _network()
    bias = network.bias.detach().clone()
    state = {"weight": STATE["weight"], "loss.discriminator": torch.ones(1)}
    load_into(network, state, name="n", allow_unexpected=(r"loss\.",), allow_missing=("bias",))
    assert torch.equal(network.weight.detach(), STATE["weight"])
    assert torch.equal(network.bias.detach(), bias)


def test_a_network_without_memory_takes_over_the_tensors():
    with torch.device("meta"):
        network = _network()
    load_into(network, STATE, name="n")
    assert network.weight.data_ptr() == STATE["weight"].data_ptr()
    assert network.weight.requires_grad


def _class_of(module: str, name: str) -> type:
    """A class that pickles as `module.name`; only the file keeps the name."""
    return type(name, (), {"__module__": module})


def test_a_trainers_objects_beside_the_weights_are_stood_in_for(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning")
    module.ModelCheckpoint = _class_of(module.__name__, "ModelCheckpoint")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = module.ModelCheckpoint()
    callback.best = {"score": 1.0}
    content = {"state_dict": STATE, "callbacks": {module.ModelCheckpoint: {"x": callback}}}
    torch.save(content, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    assert read_state_dict(tmp_path / "a.ckpt").keys() == STATE.keys()


def test_a_trainers_object_does_not_open_the_door_for_another(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning")
    module.Callback = _class_of(module.__name__, "Callback")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    folder = tmp_path / "made"
    content = {"state_dict": STATE, "a": module.Callback(), "b": RunsCode(str(folder))}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match=r"refused unread.*mkdir"):
        read_state_dict(tmp_path / "a.ckpt")
    assert not folder.exists()


@pytest.fixture(params=["safetensors", "bin"])
def sharded(request, tmp_path):
    names = [f"model-0000{i}-of-00002.{request.param}" for i in (1, 2)]
    for name, (key, value) in zip(names, STATE.items(), strict=True):
        part = {key: value, "beside": torch.zeros(1)}
        save_file(part, tmp_path / name) if request.param == "safetensors" else torch.save(
            part, tmp_path / name
        )
    stem = "model.safetensors" if request.param == "safetensors" else "pytorch_model.bin"
    index = tmp_path / f"{stem}.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(STATE, names, strict=True))}))
    return index


def test_a_sharded_checkpoint_is_read_whole_by_folder_or_index(sharded):
    for path in (sharded, sharded.parent):
        found = read_state_dict(path)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_the_hash_of_a_sharded_checkpoint_is_that_of_all_its_files(sharded):
    before = original_sha256(sharded)
    assert original_sha256(sharded.parent) == before
    shard = next(sharded.parent.glob("model-00002*"))
    shard.write_bytes(shard.read_bytes() + b" ")
    assert original_sha256(sharded) != before
    shard.unlink()
    with pytest.raises(UsageError, match="shards are missing: model-00002"):
        original_sha256(sharded)


def test_a_missing_shard_is_named(sharded):
    lost = next(sharded.parent.glob("model-00002*"))
    lost.unlink()
    with pytest.raises(UsageError, match=f"shards are missing: {lost.name}"):
        read_state_dict(sharded)


def test_a_shard_outside_the_folder_is_refused(sharded):
    sharded.write_text(json.dumps({"weight_map": {"weight": "../secret.bin"}}))
    with pytest.raises(UsageError, match=r"'\.\./secret\.bin' is not a file beside the index"):
        read_state_dict(sharded)


def test_the_authors_own_order_of_wrappers_is_kept():
    content = {"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}}
    assert unwrap(content, name="x")["a"].item() == 0
    assert unwrap(content, name="x", prefer=("ema",))["a"].item() == 1
