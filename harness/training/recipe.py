"""What the training loop asks of a trainable thing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .ema import WeightAverage


@dataclass(frozen=True, slots=True)
class StepLosses:
    """What one batch gives.

    Attributes:
        terms: the weighted terms; the loop descends their sum.
        readings: further scalars for the curve.
        images: images in this process's share of the batch, for the throughput.
    """

    terms: Mapping[str, torch.Tensor]
    readings: Mapping[str, torch.Tensor] = field(default_factory=dict)
    images: int = 0


@dataclass(frozen=True, slots=True)
class Validation:
    """What a look at held-out data gives.

    Attributes:
        scores: metrics by name.
        picture: uint8 (H, W, 3), a sheet of samples; None where there is nothing to see.
    """

    scores: Mapping[str, float]
    picture: NDArray[np.uint8] | None = None


class Recipe(ABC):
    """A model with its data and losses.

    Every random choice follows from the seed and the step or from the generator that is passed
    in, and all that outlives a step is in `model`, `opponent` or `state_dict`; so a run that is
    killed and resumed ends as an undisturbed one. Generators are the same on every process:
    a recipe draws for the whole batch and takes the rows of its process.
    """

    model: nn.Module
    """What is trained, averaged and saved."""
    opponent: nn.Module | None = None
    """What is trained against the model, with an optimiser of its own."""
    average: WeightAverage | None = None
    """The running mean of `model`, put here by the loop. Where a recipe sets parameters itself, it
    does so within `taking_over`."""
    fingerprint: str = ""
    """Of the list of images (`ImageSource`): a run is resumed with the same one only."""

    @abstractmethod
    def batches(self, first_step: int) -> Iterator[Any]:
        """This process's shares of the batches from `first_step` on, without end."""

    @abstractmethod
    def losses(self, step: int, batch: Any, generator: torch.Generator) -> StepLosses:
        """The losses of one batch."""

    @abstractmethod
    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The final weights of `model` as they are to be saved: in upstream's keys and shapes."""

    def place(self, device: torch.device) -> None:
        """Move what is neither `model` nor `opponent` (a frozen teacher) to the device."""
        del device

    def rate_scale(self, name: str) -> float:
        """Learning rate of the parameter of that name, relative to the run's."""
        del name
        return 1.0

    def before_step(self, step: int) -> None:
        """Prepare step `step` (for instance, initialise codebooks when their time has come)."""
        del step

    def opponent_terms(self, step: int, generator: torch.Generator) -> Mapping[str, torch.Tensor]:
        """The opponent's weighted terms on the batch whose losses were asked for last."""
        del step, generator
        return {}

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Act after the optimiser's step (for instance, revive dead codes)."""
        del step, generator

    def validate(self, step: int) -> Validation:
        """Look at held-out data, with the weights that would be exported after `step` steps."""
        del step
        return Validation({})

    def state_dict(self) -> dict[str, Any]:
        """What the recipe remembers from step to step: copies of tensors, numbers, strings."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        del state
