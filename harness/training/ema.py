"""A running mean of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of parameters; buffers are copied as they are.

    The decay of step t is min(`decay`, (1 + t) / (10 + t)), so that the first steps are forgotten
    quickly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._averaged = {name for name, _ in model.named_parameters()}
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step `step` (counted from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if name in self._averaged:
                self.weights[name].lerp_(value, weight)
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def taking_over(self, model: nn.Module) -> Iterator[None]:
        """Around what sets parameters instead of training them (codes by k-means, revived codes).

        Values that have changed afterwards replace their means: between a dead code and a new one
        lies neither.
        """
        before = {k: v.detach().clone() for k, v in model.named_parameters()}
        yield
        with torch.no_grad():
            for name, value in model.named_parameters():
                kept = self.weights[name]
                kept.copy_(torch.where(value != before[name], value, kept))

    def load_state_dict(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take back what `weights` was, on the device of the model."""
        for name, value in weights.items():
            self.weights[name].copy_(value)
