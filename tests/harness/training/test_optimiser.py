from __future__ import annotations

import pytest
from torch import nn

from medbench.harness.training.optimiser import build_optimiser, parameter_groups, set_rate
from medbench.harness.training.settings import OptimiserSettings


def test_norms_biases_and_frozen_parameters_are_not_decayed() -> None:
    model = nn.ModuleDict(
        {"conv": nn.Conv2d(3, 4, 3), "norm": nn.LayerNorm(4), "off": nn.Linear(2, 2)}
    )
    model["off"].requires_grad_(False)
    decayed, plain = parameter_groups(model.named_parameters(), weight_decay=0.1)
    assert decayed["names"] == ["conv.weight"]
    assert plain["names"] == ["conv.bias", "norm.weight", "norm.bias"]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_a_matrix_whose_name_says_bias_or_scale_is_not_decayed() -> None:
    named = [("q_bias", nn.Parameter(nn.Linear(2, 2).weight.data)), ("w", nn.Linear(2, 2).weight)]
    decayed, plain = parameter_groups(named, weight_decay=0.1)
    assert (decayed["names"], plain["names"]) == (["w"], ["q_bias"])


def test_parameters_with_another_rate_form_groups_of_their_own() -> None:
    model = nn.ModuleDict({"slow": nn.Linear(2, 2), "fast": nn.Linear(2, 2)})
    settings = OptimiserSettings(learning_rate=1.0, weight_decay=0.1)
    optimiser = build_optimiser(model, settings, lambda name: 0.1 if "slow" in name else 1.0)
    set_rate(optimiser, 4e-4)
    found = {name: group["lr"] for group in optimiser.param_groups for name in group["names"]}
    assert found == {
        "fast.weight": 4e-4,
        "fast.bias": 4e-4,
        "slow.weight": pytest.approx(4e-5),
        "slow.bias": pytest.approx(4e-5),
    }
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0, 0.1, 0.0]
