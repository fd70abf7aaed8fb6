from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training.checkpoint import load_latest
from medbench.harness.training.loop import NonFiniteLoss, Trainer
from medbench.harness.training.settings import TrainingSettings

CONFIG = {"what": "toy"}


def settings(**changes: object) -> TrainingSettings:
    values: dict = {
        "steps": 12,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "gradient_clip": 1.0,
        "batches_per_step": 2,
        "ema_decay": 0.9,
        "checkpoint_seconds": 0.0,
        "log_every": 5,
    }
    return TrainingSettings(**{**values, **changes})


def curve_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


@pytest.mark.parametrize("stop_at", [1, 5, 7, 11])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(tmp_path, toy_recipe, stop_at) -> None:
    whole = Trainer(toy_recipe(), settings(), tmp_path / "whole", config=CONFIG).run()
    place = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        Trainer(toy_recipe(stop_at=stop_at), settings(), place, config=CONFIG).run()
    again = Trainer(toy_recipe(), settings(), place, config=CONFIG)
    assert again.resume()
    assert again.step == stop_at
    resumed = again.run()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_a_checkpoint_behind_the_curve_repeats_its_steps_without_doubling_lines(
    tmp_path, toy_recipe
) -> None:
    whole = Trainer(toy_recipe(), settings(), tmp_path / "whole", config=CONFIG).run()
    place = tmp_path / "broken"
    seldom = settings(checkpoint_seconds=1e6)
    first = Trainer(toy_recipe(stop_at=6), settings(), place, config=CONFIG)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    late = Trainer(toy_recipe(stop_at=11), seldom, place, config=CONFIG)
    late.resume()
    with pytest.raises(KeyboardInterrupt):
        late.run()  # the curve now has step 10, the checkpoint step 6
    again = Trainer(toy_recipe(), settings(), place, config=CONFIG)
    again.resume()
    assert again.step == 6
    resumed = again.run()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_training_lowers_the_loss_and_writes_a_line_every_few_steps(tmp_path, toy_recipe) -> None:
    first = curve_of_run(
        tmp_path / "a", toy_recipe, settings(steps=60, ema_decay=0.0, log_every=20)
    )
    assert first[-1]["error"] < 0.7 * first[0]["error"]
    assert [line["step"] for line in first] == [20, 40, 60]


def curve_of_run(folder: Path, recipe, chosen: TrainingSettings) -> list[dict]:
    Trainer(recipe(), chosen, folder, config=CONFIG).run()
    return curve_of(folder)


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"nan_at": 4}, "error is nan at step 4"), ({"break_at": 4}, "norm is nan at step 4")],
)
def test_a_nan_stops_the_run_and_keeps_the_checkpoint_before(
    tmp_path, toy_recipe, fault, message
) -> None:
    with pytest.raises(NonFiniteLoss, match=message):
        Trainer(toy_recipe(**fault), settings(), tmp_path, config=CONFIG).run()
    kept = load_latest(tmp_path / "checkpoints")
    assert kept is not None
    assert kept.step == 4
    assert all(torch.isfinite(value).all() for value in kept.model.values())


def test_a_run_with_another_configuration_is_not_resumed(tmp_path, toy_recipe) -> None:
    Trainer(toy_recipe(), settings(), tmp_path, config=CONFIG).run()
    with pytest.raises(UsageError, match="another configuration"):
        Trainer(toy_recipe(), settings(), tmp_path, config={"what": "else"}).resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path, toy_recipe) -> None:
    assert not Trainer(toy_recipe(), settings(), tmp_path, config=CONFIG).resume()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"ema_decay": 1.0}, {"weight_decay": -1.0}])
def test_impossible_settings_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        settings(**wrong)
