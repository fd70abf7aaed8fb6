from __future__ import annotations

from torch import nn

from medbench.harness.training.optimiser import parameter_groups


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
