"""A pickle that would run code is refused at every door through which a file can come."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch

import medbench
from medbench.harness.errors import MedbenchError

STATE = {"w": torch.ones(2)}


def plain(evil):
    return pickle.dumps(evil)


def archive(evil):
    file = io.BytesIO()
    torch.save({"state_dict": STATE, "callbacks": evil}, file)
    return file.getvalue()


def legacy(evil):
    file = io.BytesIO()
    torch.save({"state_dict": STATE, "x": evil}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def stamped_late(evil):
    """Good tensors first; the code comes behind them."""
    return legacy(evil) + pickle.dumps(evil)


def renamed_member(evil):
    """A torch archive whose pickle was exchanged."""
    file, out = io.BytesIO(archive(None)), io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            data = pickle.dumps(evil) if member.filename.endswith("data.pkl") else old.read(member)
            new.writestr(member.filename, data)
    return out.getvalue()


def object_array(evil):
    file = io.BytesIO()
    np.save(file, np.array([evil], dtype=object), allow_pickle=True)
    return file.getvalue()


def object_arrays(evil):
    file = io.BytesIO()
    np.savez(file, test_images=np.array([evil], dtype=object), test_labels=np.array([evil], object))
    return file.getvalue()


FORMS = [plain, archive, legacy, stamped_late, renamed_member, object_array, object_arrays]
SUFFIXES = [".pt", ".pth", ".ckpt", ".bin", ".safetensors", ""]

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMS)
def test_weights_of_a_tokenizer(tmp_path, attempt, runs_code, form, suffix):
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(form(runs_code))
    for name in ("meditok", "vqgan"):
        attempt(lambda n=name: medbench.load_tokenizer(n, weights=path), names=path.name)


@pytest.mark.parametrize("form", FORMS)
def test_commands_that_take_weights(tmp_path, attempt, command, runs_code, form):
    path = tmp_path / "evil.pth"
    path.write_bytes(form(runs_code))
    data = ["--dataset", "medsynth", "--limit", 1, "--output", tmp_path / "results"]
    for words in (
        ["run", "--tokenizer", "meditok", "--task", "recon", *data],
        ["validate", "meditok"],
        ["weights", "verify", "meditok"],
    ):
        attempt(lambda w=words: command(*w, "--weights", path), names=path.name)


@pytest.mark.parametrize("form", FORMS)
def test_a_shard_of_a_sharded_checkpoint(tmp_path, attempt, runs_code, form):
    shard = tmp_path / "pytorch_model-00001-of-00001.bin"
    shard.write_bytes(form(runs_code))
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"w": shard.name}}))
    attempt(lambda: medbench.load_tokenizer("meditok", weights=index), names=shard.name)


@pytest.mark.parametrize("form", FORMS)
def test_a_data_set_of_arrays(tmp_path, attempt, runs_code, form):
    path = tmp_path / "evil.npz"
    path.write_bytes(form(runs_code))

    def read():
        for item in medbench.load_dataset(f"npz@ct:{path}").items():
            item.load()

    attempt(read, names=path)


@pytest.mark.parametrize("form", FORMS)
def test_a_generator(tmp_path, attempt, command, runs_code, form):
    from medbench.tasks.synthesis.generator.load import load_generator

    config = {"dim": 32, "n_layer": 1, "n_head": 2, "vocab_size": 8}
    (tmp_path / "weights.safetensors").write_bytes(form(runs_code))
    (tmp_path / "generator.json").write_text(
        json.dumps(
            {"config": config, "classes": ["a"], "tokenizer": {}, "training": {}, "data": "d"}
        )
    )
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"gpt{suffix}"
        path.write_bytes(form(runs_code))
        attempt(lambda p=path: load_generator(config=config, weights=p), names=path.name)
    words = ["--tokenizer", "meditok", "--task", "synthesis", "--preset", "smoke"]
    words += ["--generator", tmp_path, "--output", tmp_path / "results"]
    attempt(lambda: command("run", *words), names=tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.safetensors", "projector.safetensors"]
)
def test_a_language_model(tmp_path, attempt, runs_code, form, name):
    from medbench.tasks.vqa.saved import load_model

    facts = {"template": "short", "side": 4, "new_tokens": 8, "tokenizer": "x"}
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    small |= {"model_type": "mistral", "intermediate_size": 16, "num_key_value_heads": 1}
    (tmp_path / "config.json").write_text(json.dumps(small))
    (tmp_path / name).write_bytes(form(runs_code))
    attempt(lambda: load_model(tmp_path), names=tmp_path)  # as LLaVA keeps it
    (tmp_path / "vqa.json").write_text(json.dumps(facts))
    attempt(lambda: load_model(tmp_path), names=tmp_path)
    good = {"0.weight": torch.ones(16, 3), "0.bias": torch.ones(16)}
    good |= {"2.weight": torch.ones(16, 16), "2.bias": torch.ones(16)}
    if name != "projector.safetensors":
        from safetensors.torch import save_file

        save_file(good, tmp_path / "projector.safetensors")
        attempt(lambda: load_model(tmp_path), names=tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", ["state.pt", "model.safetensors", "average.safetensors"])
def test_a_checkpoint_of_a_training(tmp_path, attempt, runs_code, form, part):
    from medbench.harness.training.checkpoint import Checkpoint, load_latest, save_checkpoint

    place = save_checkpoint(tmp_path, Checkpoint(1, STATE, STATE, {"step": 1}, {"a": 1}))
    (place / part).write_bytes(form(runs_code))
    attempt(lambda: load_latest(tmp_path), names=part)


@pytest.mark.parametrize("form", FORMS)
def test_files_of_the_cache_and_of_unfinished_cells(tmp_path, attempt, runs_code, form):
    from medbench.harness.datasets.store import open_store
    from medbench.harness.shards import read_arrays

    shard = tmp_path / "shard-00000.npz"
    shard.write_bytes(form(runs_code))

    def damaged_shard():
        if read_arrays(shard) is None:  # computed again
            raise MedbenchError(str(shard))

    attempt(damaged_shard, names=shard, refused=False)
    store = tmp_path / "store"
    store.mkdir()
    (store / "manifest.json").write_text('{"failures": []}')
    (store / "rows.jsonl").write_text('{"id": "a"}\n')
    (store / "images.npy").write_bytes(form(runs_code))
    attempt(lambda: open_store(store), names=store)


def test_a_python_object_beside_harmless_ones_of_a_trainer(tmp_path, attempt, runs_code):
    path = tmp_path / "mixed.ckpt"
    content = {"state_dict": STATE, "paths": [tmp_path], "late": [runs_code]}
    torch.save(content, path)
    message = attempt(lambda: medbench.load_tokenizer("meditok", weights=path), names=path.name)
    assert "mkdir" in message
