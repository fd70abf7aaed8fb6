from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training import checkpoint as module
from medbench.harness.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    export_weights,
    load_latest,
    save_checkpoint,
)


def make(step: int) -> Checkpoint:
    weights = {"w": torch.full((3, 2), float(step)), "n": torch.tensor([step])}
    state = {"optimiser": {"moment": torch.ones(2)}, "count": step}
    return Checkpoint(step, weights, {"w": weights["w"] / 2}, state, {"seed": 1})


def test_what_is_saved_is_loaded_and_only_the_latest_is_kept(tmp_path) -> None:
    save_checkpoint(tmp_path, make(5))
    save_checkpoint(tmp_path, make(9))
    latest = load_latest(tmp_path)
    assert latest is not None
    assert (latest.step, latest.config, latest.state["count"]) == (9, {"seed": 1}, 9)
    assert torch.equal(latest.model["w"], torch.full((3, 2), 9.0))
    assert latest.average is not None
    assert torch.equal(latest.average["w"], torch.full((3, 2), 4.5))
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-0000009"]


@pytest.mark.parametrize("part", range(7))
def test_a_kill_between_any_two_parts_leaves_the_checkpoint_before(
    tmp_path, monkeypatch, part
) -> None:
    save_checkpoint(tmp_path, make(5))
    written = 0

    def stopping(original):
        def write(path: Path, *rest):
            nonlocal written
            if written == part:
                raise KeyboardInterrupt
            written += 1
            return original(path, *rest)

        return write

    for name in ("write_sealed", "seal", "write_json", "atomic_writer"):
        monkeypatch.setattr(module, name, stopping(getattr(module, name)))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, make(9))
    latest = load_latest(tmp_path)
    assert latest is not None
    assert latest.step == 5


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "config.json"])
def test_a_damaged_part_is_named(tmp_path, name) -> None:
    place = save_checkpoint(tmp_path, make(5))
    (place / name).write_bytes(b"not this")
    with pytest.raises(UsageError, match=name):
        load_latest(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "average.safetensors", "state.pt", "config.json"]
)
def test_a_flipped_bit_in_any_part_is_found(tmp_path, name) -> None:
    path = save_checkpoint(tmp_path, make(5)) / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpoint, match=re.escape(name)):
        load_latest(tmp_path)


def test_another_step_in_the_pointer_is_found(tmp_path) -> None:
    save_checkpoint(tmp_path, make(5))
    path = tmp_path / "latest.json"
    path.write_text(path.read_text().replace('"step": 5', '"step": 4'))
    with pytest.raises(DamagedCheckpoint, match=r"latest\.json"):
        load_latest(tmp_path)


def test_a_state_that_would_run_code_is_refused(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    place = save_checkpoint(tmp_path, make(5))
    (place / "state.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UsageError, match=r"state\.pt"):
        load_latest(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_exported_weights_are_halves_and_integers_stay(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    export_weights(path, {"w": torch.tensor([0.1, 2.0]), "n": torch.tensor([70000])})
    loaded = load_file(path)
    assert loaded["w"].dtype == torch.float16
    assert loaded["n"].item() == 70000


def test_weights_beyond_half_precision_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="big"):
        export_weights(tmp_path / "w.safetensors", {"big": torch.tensor([1e6])})
    assert not list(tmp_path.iterdir())
