from __future__ import annotations

import copy

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training.engine import Engine
from medbench.harness.training.loop import Trainer
from medbench.harness.training.optimiser import build_optimiser
from medbench.harness.training.settings import OptimiserSettings, TrainingSettings

RATE = OptimiserSettings(1e-2)


def make(recipe, precision: str = "fp32") -> Engine:
    return Engine(recipe, build_optimiser(recipe.model, RATE), precision=precision, device="cpu")


def gradients(recipe) -> list[torch.Tensor]:
    return [p.grad.clone() for p in recipe.model.parameters()]


def step(engine: Engine, recipe) -> None:
    terms, _, _ = engine.objective(0, next(recipe.batches(0)), torch.Generator().manual_seed(0))
    engine.backward(terms["error"])


def test_fp16_without_a_gpu_is_refused(toy_recipe) -> None:
    with pytest.raises(UsageError, match="bf16 or fp32"):
        make(toy_recipe(), "fp16")


@pytest.mark.usefixtures("undrawn")
def test_bf16_runs_the_layers_in_half_and_keeps_whole_weights(tmp_path, toy_recipe) -> None:
    settings = TrainingSettings(steps=2, optimiser=RATE, precision="bf16")
    recipe = toy_recipe(parts=1)
    Trainer(recipe, settings, tmp_path, config={}).run()
    assert recipe.dtype == torch.bfloat16
    assert {p.dtype for p in recipe.model.parameters()} == {torch.float32}
    whole = toy_recipe(parts=1)
    Trainer(whole, TrainingSettings(steps=2, optimiser=RATE), tmp_path / "w", config={}).run()
    assert whole.dtype == torch.float32
    for one, other in zip(recipe.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.02)


@pytest.mark.parametrize("share", [0.0, 0.25, 4.0])
def test_clipping_returns_the_norm_before_and_keeps_the_direction(toy_recipe, share) -> None:
    recipe = toy_recipe(dropout=0.0)
    engine = make(recipe)
    step(engine, recipe)
    before = gradients(recipe)
    norm = float(torch.cat([g.flatten() for g in before]).norm())
    assert engine.clip(share * norm) == pytest.approx(norm, rel=1e-6)
    factor = 0.25 if share == 0.25 else 1.0  # 0 asks for no clipping
    for old, new in zip(before, gradients(recipe), strict=True):
        torch.testing.assert_close(new, factor * old, rtol=1e-4, atol=1e-7)
    assert not engine.scales
    assert not engine.skipped


def test_an_engine_takes_up_the_optimiser_of_another(toy_recipe) -> None:
    first, second = toy_recipe(dropout=0.0), toy_recipe(dropout=0.0)
    one, other = make(first), make(second)
    for _ in range(2):
        step(one, first)
        one.optimiser.step()
    second.model.load_state_dict(first.model.state_dict())
    other.load_state_dict(copy.deepcopy(one.state_dict()))  # torch would share its tensors
    for engine, recipe in ((one, first), (other, second)):
        engine.optimiser.zero_grad()
        step(engine, recipe)
        engine.optimiser.step()
    for p, q in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_gpu_that_is_named_by_its_number_becomes_the_current_one(toy_recipe, monkeypatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(device))
    recipe = toy_recipe()
    optimiser = build_optimiser(recipe.model, RATE)
    for device in ("cpu", "cuda", "cuda:1"):
        Engine(recipe, optimiser, precision="fp32", device=device)
    assert [str(each) for each in chosen] == ["cuda:1"]
