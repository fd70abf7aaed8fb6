from __future__ import annotations

import copy

import torch
from torch import nn

from medbench.harness.training.frozen import Frozen


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())


def test_a_frozen_network_computes_what_it_did_in_evaluation() -> None:
    plain = network()
    frozen = Frozen(copy.deepcopy(plain))
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(frozen(images), plain.eval()(images))


def test_it_is_no_part_of_what_is_trained_or_saved_and_stays_in_evaluation() -> None:
    whole = nn.ModuleDict({"teacher": Frozen(network()), "head": nn.Linear(2, 2)}).train()
    assert [name for name, _ in whole.named_parameters()] == ["head.weight", "head.bias"]
    assert list(whole.state_dict()) == ["head.weight", "head.bias"]
    whole.load_state_dict(whole.state_dict(), strict=True)
    assert whole.training
    assert not any(part.training for part in whole["teacher"].modules())


def test_it_moves_with_the_model_and_passes_gradients_on() -> None:
    whole = nn.ModuleDict({"teacher": Frozen(network())}).double()
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    whole["teacher"](images).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).any()
    assert all(buffer.grad is None for buffer in whole.buffers())
