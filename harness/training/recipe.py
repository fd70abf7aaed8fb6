"""What the training loop asks of a trainable thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class StepLosses:
    """What one batch gives.

    Attributes:
        terms: the weighted terms; the loop descends their sum.
        readings: further scalars for the curve.
        images: images in the batch, for the throughput.
    """

    terms: Mapping[str, torch.Tensor]
    readings: Mapping[str, torch.Tensor] = field(default_factory=dict)
    images: int = 0


class Recipe(Protocol):
    """A model with its data and losses.

    Every random choice follows from (seed, step) or the generator that is passed in, and all
    that outlives a step is in `model` or in `state_dict`; so a run that is killed and resumed
    ends as an undisturbed one.
    """

    model: nn.Module
    """What is trained, averaged and saved."""

    def before_step(self, step: int) -> None:
        """Prepare step `step` (for instance, initialise codebooks when their time has come)."""
        ...

    def losses(self, step: int, generator: torch.Generator) -> StepLosses:
        """Draw a batch with `generator` and compute its losses."""
        ...

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Act after the optimiser's step (for instance, revive dead codes)."""
        ...

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The final weights of `model` as they are to be saved: in upstream's keys and shapes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the recipe remembers from step to step: tensors, numbers, strings."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...
