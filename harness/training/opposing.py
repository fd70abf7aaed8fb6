"""The opponent's side of a training step."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from . import parallel
from .optimiser import build_optimiser, set_rate
from .settings import TrainingSettings

_LOG = logging.getLogger(__name__)


class Opposing:
    """A discriminator with its optimiser and learning rate.

    Args:
        opponent: what is trained.
        settings: of the run.

    Raises:
        UsageError: `settings` says nothing of an opponent.
    """

    def __init__(self, opponent: nn.Module, settings: TrainingSettings) -> None:
        if settings.opponent is None:
            message = "there is a discriminator to train, but `settings` has no `opponent`"
            raise UsageError(message)
        self.module = opponent
        self.settings = settings.opponent
        self.optimiser = build_optimiser(opponent, settings.opponent)
        self.schedule = settings.opponent.schedule(settings.steps)
        self._parameters = [p for p in opponent.parameters() if p.requires_grad]

    def begin(self, step: int) -> None:
        """Forget the gradients of the step before."""
        set_rate(self.optimiser, self.schedule.rate(step))
        self.optimiser.zero_grad(set_to_none=True)

    def finish(self) -> float:
        """Share, clip and apply the gradients; return their norm."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:
            return 0.0
        parallel.sum_over_processes(gradients)
        for gradient in gradients:
            gradient.div_(parallel.world_size())
        largest = self.settings.gradient_clip or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, largest))
        if math.isfinite(norm):
            self.optimiser.step()
        else:
            _LOG.warning("the discriminator's gradient is %s: its step is left out", norm)
        return norm if math.isfinite(norm) else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
