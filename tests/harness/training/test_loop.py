from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training import checkpoint
from medbench.harness.training.checkpoint import load_latest
from medbench.harness.training.feed import NoBatch
from medbench.harness.training.loop import Interrupted, Trainer
from medbench.harness.training.readings import NonFiniteLoss
from medbench.harness.training.settings import BOOKKEEPING, OptimiserSettings, TrainingSettings

pytestmark = pytest.mark.usefixtures("undrawn")
CONFIG = {"what": "toy"}
TOY = Path(__file__).with_name("conftest.py")


def settings(**changes: object) -> TrainingSettings:
    values: dict = {
        "steps": 12,
        "optimiser": OptimiserSettings(1e-2, warmup_steps=2, gradient_clip=1.0),
        "opponent": OptimiserSettings(1e-3),
        "batches_per_step": 2,
        "ema_decay": 0.9,
        "checkpoint_seconds": 0.0,
        "log_every": 5,
        "threads": 1,  # one process of a test may have been given fewer than another
    }
    return TrainingSettings(**{**values, **changes})


def curve_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k} for line in lines]


def run(recipe, folder: Path, **changes: object) -> dict[str, torch.Tensor]:
    return Trainer(recipe, settings(**changes), folder, config=CONFIG).run()


def resume(recipe, folder: Path, **changes: object) -> dict[str, torch.Tensor]:
    trainer = Trainer(recipe, settings(**changes), folder, config=CONFIG)
    assert trainer.resume()
    return trainer.run()


def assert_same(one: dict, other: dict) -> None:
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("stop_at", [1, 5, 7, 11])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(tmp_path, toy_recipe, stop_at) -> None:
    whole = run(toy_recipe(contest=True), tmp_path / "whole")
    place = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run(toy_recipe(contest=True, fault="interrupt", at=stop_at), place)
    kept = load_latest(place / "checkpoints")
    assert kept is not None
    assert kept.step == stop_at
    assert_same(resume(toy_recipe(contest=True), place), whole)
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_the_opponent_ends_with_the_same_bits_too(tmp_path, toy_recipe) -> None:
    whole, part, rest = (toy_recipe(contest=True) for _ in range(3))
    run(whole, tmp_path / "whole")
    before = {k: v.clone() for k, v in part.opponent.state_dict().items()}
    part.fault, part.at = "interrupt", 6
    with pytest.raises(KeyboardInterrupt):
        run(part, tmp_path / "broken")
    resume(rest, tmp_path / "broken")
    assert_same(rest.opponent.state_dict(), whole.opponent.state_dict())
    assert not any(torch.equal(before[k], v) for k, v in whole.opponent.state_dict().items())


def test_resuming_a_finished_run_gives_its_weights(tmp_path, toy_recipe) -> None:
    whole = run(toy_recipe(), tmp_path)
    assert_same(resume(toy_recipe(), tmp_path), whole)


_KILLED = """
import os, runpy, signal, sys
from pathlib import Path
from medbench.harness.training import checkpoint
tests = runpy.run_path(sys.argv[1])
toy = runpy.run_path(sys.argv[2])["ToyRecipe"]
moment, place = sys.argv[3], Path(sys.argv[4])
def dying(path, value):
    if path.name == "latest.json" and value["step"] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    original(path, value)
original = checkpoint.write_json
if moment == "checkpoint":
    checkpoint.write_json = dying
recipe = toy(contest=True, **({"fault": "kill", "at": 7} if moment == "step" else {}))
tests["run"](recipe, place)
"""


@pytest.mark.parametrize(
    ("moment", "kept"), [("step", 7), pytest.param("checkpoint", 6, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(
    tmp_path, toy_recipe, moment, kept
) -> None:
    place = tmp_path / "killed"
    arguments = [str(Path(__file__)), str(TOY), moment, str(place)]
    ended = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    latest = load_latest(place / "checkpoints")
    assert latest is not None
    assert latest.step == kept
    whole = run(toy_recipe(contest=True), tmp_path / "whole")
    assert_same(resume(toy_recipe(contest=True), place), whole)
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_a_run_that_is_asked_to_end_saves_first(tmp_path, toy_recipe) -> None:
    place = tmp_path / "asked"
    before = signal.getsignal(signal.SIGTERM)
    asked = toy_recipe(fault="terminate", at=4)
    with pytest.raises(Interrupted, match="after step 5; go on with --resume"):
        run(asked, place, checkpoint_seconds=1e6)
    assert signal.getsignal(signal.SIGTERM) is before
    assert_same(resume(toy_recipe(), place), run(toy_recipe(), tmp_path / "whole"))


def test_a_checkpoint_behind_the_curve_repeats_its_steps_without_doubling_lines(
    tmp_path, toy_recipe
) -> None:
    whole = run(toy_recipe(), tmp_path / "whole", validate_every=4)
    place = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run(toy_recipe(fault="interrupt", at=6), place, validate_every=4)
    with pytest.raises(KeyboardInterrupt):  # the curve then has step 10, the checkpoint step 6
        late = toy_recipe(fault="interrupt", at=11)
        resume(late, place, checkpoint_seconds=1e6, validate_every=4)
    assert curve_of(place)[-1]["step"] == 10
    assert_same(resume(toy_recipe(), place, validate_every=4), whole)
    assert curve_of(place) == curve_of(tmp_path / "whole")
    lines = (place / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]


def test_images_that_cannot_be_read_lose_their_step_alone(tmp_path, toy_recipe) -> None:
    place = tmp_path / "broken"
    with pytest.raises(NoBatch, match=r"image 7 cannot be read.* kept: .*checkpoints"):
        run(toy_recipe(contest=True, fault="unreadable", at=4), place, checkpoint_seconds=1e6)
    kept = load_latest(place / "checkpoints")
    assert kept is not None
    assert kept.step == 4
    whole = run(toy_recipe(contest=True), tmp_path / "whole")
    assert_same(whole, resume(toy_recipe(contest=True), place))
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_an_error_of_ours_while_codes_are_placed_keeps_the_steps_before_it(
    tmp_path, toy_recipe
) -> None:
    def fail(step: int) -> None:
        if step == 4:
            message = "no vectors"
            raise UsageError(message)

    recipe = toy_recipe()
    recipe.before_step = fail
    with pytest.raises(UsageError, match="no vectors"):
        run(recipe, tmp_path / "broken", checkpoint_seconds=1e6)
    rest = resume(toy_recipe(), tmp_path / "broken")
    assert_same(rest, run(toy_recipe(), tmp_path / "whole"))


def test_a_run_on_another_list_of_images_is_not_resumed(tmp_path, toy_recipe) -> None:
    first, other = toy_recipe(), toy_recipe()
    first.fingerprint, other.fingerprint = "40 images ab", "39 images cd"
    run(first, tmp_path)
    with pytest.raises(UsageError, match="another list of images: 40 images ab, now 39 images cd"):
        Trainer(other, settings(), tmp_path, config=CONFIG).resume()
    resume(first, tmp_path)


def test_training_lowers_the_loss_and_writes_a_line_every_few_steps(tmp_path, toy_recipe) -> None:
    run(toy_recipe(), tmp_path, steps=60, ema_decay=0.0, log_every=20)
    curve = curve_of(tmp_path)
    assert curve[-1]["error"] < 0.7 * curve[0]["error"]
    assert [line["step"] for line in curve] == [20, 40, 60]


@pytest.mark.parametrize(
    ("fault", "message"),
    [("nan", "error is nan at step 4"), ("slope", "norm is nan at step 4")],
)
def test_a_nan_loses_its_step_alone(tmp_path, toy_recipe, fault, message) -> None:
    place = tmp_path / "broken"
    with pytest.raises(NonFiniteLoss, match=message):
        run(toy_recipe(contest=True, fault=fault, at=4), place, checkpoint_seconds=1e6)
    kept = load_latest(place / "checkpoints")
    assert kept is not None
    assert kept.step == 4
    assert kept.model["passes"] == 8  # two batches a step, and none of the step that failed
    assert kept.state["recipe"]["seen"] == 8
    whole, rest = toy_recipe(contest=True), toy_recipe(contest=True)
    assert_same(run(whole, tmp_path / "whole"), resume(rest, place))
    assert_same(whole.opponent.state_dict(), rest.opponent.state_dict())
    assert curve_of(place) == curve_of(tmp_path / "whole")


def test_the_message_names_the_weights_before_a_step_that_was_not_finite(
    tmp_path, toy_recipe
) -> None:
    for decay, name in ((0.9, "average"), (0.0, "model")):
        place = tmp_path / name
        with pytest.raises(NonFiniteLoss, match=r"start: \{weights: (.*)\}") as caught:
            run(toy_recipe(fault="nan", at=4), place, ema_decay=decay)
        path = Path(str(caught.value).split("weights: ")[1].split("}")[0])
        kept = load_latest(place / "checkpoints")
        assert kept is not None
        assert path == place / "checkpoints" / "step-0000004" / f"{name}.safetensors"
        assert_same(load_file(path), dict(kept.average or kept.model))


def test_bookkeeping_may_change_at_a_resume_and_changes_no_bit(tmp_path, toy_recipe) -> None:
    def start(recipe, folder: Path, **changes: object) -> Trainer:
        chosen = settings(**changes)
        return Trainer(recipe, chosen, folder, config={"settings": asdict(chosen)})

    whole = start(toy_recipe(contest=True), tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        start(toy_recipe(contest=True, fault="interrupt", at=7), tmp_path / "broken").run()
    others = {
        "checkpoint_seconds": 1e6,
        "disk_patience_seconds": 1.0,
        "log_every": 1,
        "validate_every": 2,
        "workers": 2,
    }
    assert set(others) == set(BOOKKEEPING)
    resumed = start(toy_recipe(contest=True), tmp_path / "broken", **others)
    assert resumed.resume()
    assert_same(resumed.run(), whole)
    with pytest.raises(UsageError, match="another configuration .*only .*workers may be others"):
        start(toy_recipe(contest=True), tmp_path / "whole", seed=1).resume()


class Disk:
    """A disk on which files end at `room` bytes, from `fill` on until the trainer has waited."""

    def __init__(self, waits: int) -> None:
        self.waits = waits
        self.room = 100
        self.soft, self.hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, step: int) -> None:
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, self.hard))

    def wait(self, seconds: float) -> None:
        self.waits -= 1
        if self.waits == 0:
            self.empty()

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.soft, self.hard))


@pytest.fixture
def disk(monkeypatch) -> Iterator[Disk]:
    """A disk that is emptied while the trainer waits for the third time."""
    disk = Disk(waits=3)
    monkeypatch.setattr(checkpoint.time, "sleep", disk.wait)
    yield disk
    disk.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's
@pytest.mark.parametrize("room", [100, 4000])  # for no weights; for those, but not for the state
def test_a_full_disk_that_is_emptied_costs_nothing(tmp_path, toy_recipe, disk, room) -> None:
    disk.room = room
    recipe = toy_recipe()
    recipe.before_step = disk.fill
    trained = run(recipe, tmp_path / "full")
    assert disk.waits <= 0
    assert_same(trained, run(toy_recipe(), tmp_path / "whole"))
    assert curve_of(tmp_path / "full") == curve_of(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_that_stays_full_ends_the_run_and_leaves_the_checkpoint(
    tmp_path, toy_recipe, disk
) -> None:
    recipe = toy_recipe()
    recipe.before_step = disk.fill
    with pytest.raises(UsageError, match="cannot write"):
        run(recipe, tmp_path / "full", disk_patience_seconds=0.0)
    disk.empty()
    kept = load_latest(tmp_path / "full" / "checkpoints")
    assert kept is not None
    assert kept.step == 4
    assert_same(resume(toy_recipe(), tmp_path / "full"), run(toy_recipe(), tmp_path / "whole"))


def test_halves_of_a_batch_add_up_to_it(tmp_path, toy_recipe) -> None:
    calm = {"dropout": 0.0, "drift": 0.0}
    whole = run(toy_recipe(batch=16, parts=1, **calm), tmp_path / "whole", batches_per_step=1)
    halves = run(toy_recipe(batch=8, parts=2, **calm), tmp_path / "halves", batches_per_step=2)
    del whole["passes"], halves["passes"]
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, rtol=1e-4, atol=1e-6)


def test_validation_sees_the_averaged_weights_and_leaves_no_trace(tmp_path, toy_recipe) -> None:
    looking, blind = toy_recipe(contest=True), toy_recipe(contest=True)
    trained = run(looking, tmp_path / "looking", validate_every=3)
    assert_same(trained, run(blind, tmp_path / "blind"))
    assert_same(looking.model.state_dict(), blind.model.state_dict())
    assert len(looking.looked) == 4
    assert_same(looking.looked[-1], trained)
    assert not torch.equal(trained["layers.0.weight"], looking.model.layers[0].weight)


def test_a_run_without_an_average_is_validated_as_it_is(tmp_path, toy_recipe) -> None:
    recipe = toy_recipe()
    trained = run(recipe, tmp_path, ema_decay=0.0)
    assert_same(recipe.looked[-1], trained)
    assert recipe.model.training


def test_an_opponent_without_settings_is_refused(tmp_path, toy_recipe) -> None:
    with pytest.raises(UsageError, match="no `opponent`"):
        Trainer(toy_recipe(contest=True), settings(opponent=None), tmp_path, config=CONFIG)


def test_a_run_with_another_configuration_is_not_resumed(tmp_path, toy_recipe) -> None:
    run(toy_recipe(), tmp_path)
    with pytest.raises(UsageError, match="another configuration"):
        Trainer(toy_recipe(), settings(), tmp_path, config={"what": "else"}).resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path, toy_recipe) -> None:
    assert not Trainer(toy_recipe(), settings(), tmp_path, config=CONFIG).resume()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"ema_decay": 1.0}, {"workers": -1}])
def test_impossible_settings_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        settings(**wrong)
