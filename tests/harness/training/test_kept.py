"""Networks that are trained once: kept, resumed, and made again where they are damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file

from medbench.harness import ranks
from medbench.harness.sealed import seal_of
from medbench.harness.training.checkpoint import write_weights
from medbench.harness.training.kept import train_once
from medbench.harness.training.loop import Interrupted, Trainer
from medbench.harness.training.recipe import Recipe
from medbench.harness.training.settings import OptimiserSettings, TrainingSettings


@dataclass
class Keeper:
    """Trains toys below a folder, and counts how often."""

    root: Path
    recipe: Callable[..., Recipe]
    trainings: int = 0

    def __call__(self, name: str = "kept", **recipe) -> Path:
        """Path of the weights."""
        path = self.root / name / "weights.safetensors"

        def build() -> Trainer:
            self.trainings += 1
            settings = TrainingSettings(
                steps=6,
                batches_per_step=2,
                optimiser=OptimiserSettings(learning_rate=1e-2),
                log_every=2,
            )
            return Trainer(self.recipe(**recipe), settings, path.parent, config={})

        train_once(path, build, write_weights, what="a toy")
        return path


@pytest.fixture
def keep(tmp_path, monkeypatch, toy_recipe, undrawn) -> Keeper:
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    return Keeper(tmp_path / "nets", toy_recipe)


def test_what_is_there_is_not_trained_again_and_checkpoints_go(keep):
    path = keep()
    assert keep() == path
    assert keep.trainings == 1
    assert not (path.parent / "checkpoints").exists()


@pytest.mark.parametrize("part", ["weights", "seal"])
def test_damaged_weights_are_trained_again_to_the_same_bits(keep, part):
    path = keep()
    before = path.read_bytes()
    damaged = path if part == "weights" else seal_of(path)
    data = bytearray(damaged.read_bytes())
    data[10] ^= 1
    damaged.write_bytes(data)
    assert keep().read_bytes() == before
    assert keep.trainings == 2


def test_a_stopped_training_goes_on_and_a_damaged_checkpoint_begins_again(keep):
    whole = load_file(keep("whole"))
    with pytest.raises(Interrupted):
        keep("stopped", fault="terminate", at=3)
    stopped = keep("stopped")
    assert all(load_file(stopped)[name].equal(value) for name, value in whole.items())

    with pytest.raises(Interrupted):
        keep("damaged", fault="terminate", at=3)
    place = stopped.parents[1] / "damaged" / "checkpoints"
    state = next(place.rglob("state.pt"))
    state.write_bytes(state.read_bytes()[:-5])
    damaged = keep("damaged")
    assert all(load_file(damaged)[name].equal(value) for name, value in whole.items())


def test_of_two_at_once_one_trains(keep, tmp_path, monkeypatch):
    # While Accelerate starts, it empties os.environ for a moment, and with it MEDBENCH_CACHE for
    # the other thread, which two processes would not notice.
    monkeypatch.setattr("medbench.harness.exclusive.cache_root", lambda: tmp_path / "cache")
    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keep.trainings == 1


def test_ranks_train_or_not_as_the_first_of_them_finds(keep, monkeypatch):
    monkeypatch.setattr(ranks, "first", lambda work: True)  # it found whole what this one does not
    keep()
    assert keep.trainings == 0
