"""Published files whose content changes under the same name: refused until somebody accepts it."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
from huggingface_hub import constants

from medbench.harness.entries import HubFile
from medbench.harness.locate import fetch, locate

OLD, NEW = b"the first content", b"another content"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub that gives whatever content is set for `main`."""
    content = {"main": OLD}

    def download(repository, filename, *, revision, local_dir):
        path = local_dir / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[revision])
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return content


SOURCE = HubFile("someone/model", "model.safetensors", "main")


def test_a_branch_that_moves_is_refused_when_fetched_again(server, attempt):
    path = fetch(SOURCE)
    assert locate(SOURCE, tokenizer="m@main") == path
    server["main"] = NEW
    attempt(lambda: fetch(SOURCE), names=path)
    attempt(lambda: locate(SOURCE, tokenizer="m@main"), names=path)


def test_a_tag_that_moves_is_refused_in_the_hubs_own_cache(tmp_path, attempt):
    folder = tmp_path / "hub" / "models--someone--model"
    for name, content in (("old", OLD), ("new", NEW)):
        (folder / "snapshots" / name).mkdir(parents=True)
        (folder / "snapshots" / name / "model.safetensors").write_bytes(content)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("old")
    assert locate(SOURCE, tokenizer="m@main").read_bytes() == OLD
    (folder / "refs" / "main").write_text("new")
    attempt(lambda: locate(SOURCE, tokenizer="m@main"), names="model.safetensors")


def test_a_pinned_file_never_takes_another_content(server, attempt):
    import hashlib

    pinned = HubFile("someone/model", "m.bin", "main", sha256=hashlib.sha256(OLD).hexdigest())
    server["main"] = NEW
    attempt(lambda: fetch(pinned), names="m.bin")
    attempt(lambda: locate(pinned, tokenizer="m@main"), names="m.bin")


@pytest.mark.parametrize("lock", ["[" * 100_000, "[]", '{"a": 3}', '{"a": {"b": 1}}', "\x00"])
def test_a_damaged_record_of_hashes_is_no_reason_to_trust(server, tmp_path, attempt, lock):
    path = fetch(SOURCE)
    (tmp_path / "weights" / "weights.lock.json").write_text(lock)
    path.write_bytes(NEW)
    attempt(lambda: locate(SOURCE, tokenizer="m@main"), names="weights.lock.json")


def test_a_registered_variant_whose_weights_changed_is_refused(tmp_path, attempt):
    from medbench.harness.locate import locate as find
    from medbench.harness.registered import registered_variants

    folder = tmp_path / "weights" / "registered" / "meditok" / "mine"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(NEW)
    kept = {"config": {}, "sha256": "0" * 64, "bits_per_image": 1, "trained": {}}
    (folder / "variant.json").write_text(json.dumps(kept))
    weights = registered_variants("meditok")["mine"].weights
    attempt(lambda: find(weights, tokenizer="meditok@mine"), names=folder)
