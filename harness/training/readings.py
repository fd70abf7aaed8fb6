"""The numbers of a training step, and the refusal of those that are none."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ..errors import UsageError
from . import parallel


class NonFiniteLoss(UsageError):
    """A loss was NaN or infinite; a checkpoint of the step before is kept."""


def check_finite(name: str, value: float, step: int) -> None:
    """Pass finite numbers.

    Raises:
        NonFiniteLoss: it is NaN or infinite.
    """
    if not math.isfinite(value):
        message = (
            f"{name} is {value} at step {step}. Look at the data of this step, or lower the "
            "learning rate."
        )
        raise NonFiniteLoss(message)


class Means:
    """Readings of one step, averaged over its batches and all processes.

    Args:
        parts: batches per step.
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self.values: dict[str, float] = {}
        """The means so far, by name."""

    def add(self, name: str, value: float, *, parts: int) -> None:
        """Take in one of `parts` values."""
        self.values[name] = self.values.get(name, 0.0) + value / parts

    def check_and_add(self, values: Mapping[str, torch.Tensor], step: int) -> None:
        """Take in a batch's values; NonFiniteLoss where one is not finite."""
        if not values:
            return
        numbers = torch.stack([v.detach().double().reshape(()).cpu() for v in values.values()])
        parallel.sum_over_processes([numbers])  # so that all of them stop at a number gone wrong
        numbers = numbers / parallel.world_size()
        for name, number in zip(values, numbers.tolist(), strict=True):
            check_finite(name, number, step)
            self.add(name, number, parts=self._parts)
