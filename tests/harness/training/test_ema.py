from __future__ import annotations

import pytest
import torch
from torch import nn

from medbench.harness.training.ema import WeightAverage


@pytest.fixture
def model() -> nn.Embedding:
    model = nn.Embedding(4, 2)
    nn.init.zeros_(model.weight)
    return model


def move(model: nn.Embedding, rows: list[int], value: float) -> None:
    with torch.no_grad():
        model.weight[rows] = value


def test_what_is_set_is_taken_over_and_what_is_trained_is_averaged(model):
    average = WeightAverage(model, decay=0.5)
    move(model, [0, 1, 2, 3], 1.0)
    average.update(model, step=100)
    assert average.weights["weight"].tolist() == [[0.5, 0.5]] * 4
    with average.taking_over(model):
        move(model, [1, 3], 7.0)
    average.update(model, step=101)
    assert average.weights["weight"].tolist() == [[0.75] * 2, [7.0] * 2, [0.75] * 2, [7.0] * 2]
