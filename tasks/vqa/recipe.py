"""One stage of teaching, as the training loop wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...harness.training import parallel
from ...harness.training.recipe import Recipe, StepLosses
from .collate import Row, TokenBatch, collate
from .model import AnsweringModel
from .talks import Unit


class Trainables(nn.Module):
    """The parameters that a stage trains, and nothing of what it leaves alone.

    Checkpoints then hold no frozen language model. The parameters are the model's own, not copies.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(name.replace(".", "/"), parameter)


class AnswerRecipe(Recipe):
    """Teaches an answering model on units.

    Args:
        answering: whose parameters that require a gradient are trained.
        units: what is learnt.
        tokens: image tokens (N, L, D) by row of the store; None teaches without images.
        before: numbers of the text before the image.
        batch: units per step, over all processes.
        questions: segments of one unit per step at most.
        seed: of the order.
        projector_scale: learning rate of the projector, relative to the language model's.
    """

    def __init__(
        self,
        answering: AnsweringModel,
        units: Sequence[Unit],
        tokens: np.ndarray | None,
        *,
        before: Sequence[int],
        batch: int,
        questions: int,
        seed: int,
        projector_scale: float = 1.0,
    ) -> None:
        self.answering = answering
        self.model = Trainables(answering)
        self.units, self.tokens = units, tokens
        self.before, self.batch, self.questions = tuple(before), batch, questions
        self.seed = seed
        self.passes = 1
        """In which this process's share of a batch is given out."""
        self.projector_scale = projector_scale
        self._device = torch.device("cpu")

    def place(self, device: torch.device) -> None:
        """Move the frozen parts too."""
        self._device = device
        self.answering.to(device)

    def rate_scale(self, name: str) -> float:
        """The projector may learn at another rate."""
        return self.projector_scale if name.startswith("projector/") else 1.0

    def batches(self, first_step: int) -> Iterator[TokenBatch]:
        """This process's rows, in `passes` parts; every epoch has an order of its own."""
        own = parallel.own_rows(self.batch)
        each = (own.stop - own.start) // self.passes
        step = first_step
        while True:
            for start in range(step * self.batch + own.start, step * self.batch + own.stop, each):
                yield collate([self._row(place) for place in range(start, start + each)])
            step += 1

    def _row(self, place: int) -> Row:
        epoch, position = divmod(place, len(self.units))
        order = self._order(epoch)
        unit = self.units[order[position]]
        draws = np.random.default_rng([self.seed, place, 1])
        chosen = draws.permutation(len(unit.segments))[: self.questions]
        image = None
        if self.tokens is not None and unit.image >= 0:
            image = np.asarray(self.tokens[unit.image])
        return Row(self.before, image, unit.told, [unit.segments[k] for k in chosen])

    def _order(self, epoch: int) -> np.ndarray:
        known = getattr(self, "_last_order", None)
        if known is None or known[0] != epoch:
            draws = np.random.default_rng([self.seed, epoch, 0])
            known = self._last_order = (epoch, draws.permutation(len(self.units)))
        return known[1]

    def losses(self, step: int, batch: TokenBatch, generator: torch.Generator) -> StepLosses:
        """Cross-entropy of the answers."""
        del step, generator
        self.answering.train(self.model.training)
        loss = self.answering.loss(batch.to(self._device))
        return StepLosses({"answers": loss}, images=batch.images)

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By the model's own names."""
        return {name.replace("/", "."): value for name, value in weights.items()}


def load_trained(answering: AnsweringModel, weights: Mapping[str, Any]) -> None:
    """Put a stage's exported weights into the model that they were trained in."""
    own = dict(answering.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
