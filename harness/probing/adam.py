"""The paper's way to fit a linear probe: Adam on unstandardised features, epoch by epoch.

Nothing here chooses an epoch. Whoever reports the best one on the images that it is scored on
reports a maximum over noise, which is why this is never the probe of the tables (`linear` is).

Source: MedITok, appendix C.2 (Adam, batch 128, until convergence, no augmentation); the learning
rate and what counts as convergence are not printed there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import MetricError
from ..metrics.classification import class_members
from ..metrics.feature_sets import check_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .linear import Labelled


@dataclass(frozen=True, slots=True)
class AdamTerms:
    """How long and in which steps.

    Attributes:
        learning_rate: of Adam, whose other settings are torch's.
        batch: images per step.
        epochs: at most.
        patience: epochs in a row without `improvement`, after which it stops.
        improvement: part by which the mean training loss of an epoch must undercut that of the
            last epoch that did.
    """

    learning_rate: float = 1e-3
    batch: int = 128
    epochs: int = 200
    patience: int = 10
    improvement: float = 1e-3


PAPER = AdamTerms()


def adam_scores(
    train: Labelled, features: NDArray[np.floating], *, seed: int, terms: AdamTerms = PAPER
) -> Iterator[NDArray[np.float64]]:
    """Yield the scores (N, C) of other images after each epoch of training.

    Args:
        train: images to fit on.
        features: float (N, d), of the images to score.
        seed: of the first weights and of the order of the images.
        terms: of the optimisation.

    Raises:
        MetricError: features of another size, or not finite.
    """
    check_features(train.features, "training features")
    if features.ndim != 2 or features.shape[1] != train.features.shape[1]:
        raise MetricError(
            f"training features have {train.features.shape[1]} dimensions, the others shape "
            f"{features.shape}."
        )
    fit = _Fit(train, seed, terms)
    scored = torch.from_numpy(np.array(features, dtype=np.float32))
    lowest, in_vain = np.inf, 0
    for _ in range(terms.epochs):
        loss = fit.epoch()
        yield fit.logits(scored).double().numpy()
        improved = loss < lowest * (1 - terms.improvement)
        lowest, in_vain = (loss, 0) if improved else (lowest, in_vain + 1)
        if in_vain >= terms.patience:
            return


class _State:
    """Adam with torch's default settings for one tensor, which it changes in place.

    torch's own class imports its compiler when it is first made, which takes longer than a probe
    of a small set. Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    _BETAS = (0.9, 0.999)
    _EPSILON = 1e-8

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor, self._steps = tensor, 0
        self._mean, self._square = torch.zeros_like(tensor), torch.zeros_like(tensor)

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        self._steps += 1
        first, second = self._BETAS
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (self._square / (1 - second**self._steps)).sqrt_().add_(self._EPSILON)
        self._tensor.addcdiv_(self._mean, size, value=-learning_rate / (1 - first**self._steps))


class _Fit:
    def __init__(self, train: Labelled, seed: int, terms: AdamTerms) -> None:
        truth = train.truth
        classes = truth.shape[1] if train.multi_label else int(truth.max()) + 1
        table = class_members(truth, np.zeros((len(truth), classes)))
        self._targets = torch.from_numpy(table).float()
        self._features, self._multi_label, self._terms = train.features, train.multi_label, terms
        dims = train.features.shape[1]
        self._generator = torch.Generator().manual_seed(seed)
        # torch's own rule for a linear layer: uniform within one over the root of its inputs.
        bound = dims**-0.5
        start = torch.rand((dims + 1, classes), generator=self._generator)
        start = start.mul_(2 * bound).sub_(bound)
        self._weight, self._bias = start[:-1].clone(), start[-1].clone()
        self._states = [_State(each) for each in (self._weight, self._bias)]

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """float32 (N, C)."""
        return torch.addmm(self._bias, features, self._weight)

    def epoch(self) -> float:
        """One pass over the training images in a new order; returns the mean loss, nats."""
        order = torch.randperm(len(self._targets), generator=self._generator)
        total = 0.0
        for rows in order.split(self._terms.batch):
            # Sorted, so that memory-mapped features are read forwards; sums do not depend on it.
            rows = rows.sort().values
            features = torch.from_numpy(np.asarray(self._features[rows.numpy()], np.float32))
            targets = self._targets[rows]
            loss, slope = self._loss(self.logits(features), targets)
            slope /= len(rows)
            for state, gradient in zip(
                self._states, (features.T @ slope, slope.sum(dim=0)), strict=True
            ):
                state.step(gradient, self._terms.learning_rate)
            total += float(loss)
        return total / len(self._targets)

    def _loss(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and its slope in the logits."""
        if self._multi_label:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, targets, reduction="sum"
            )
            return loss, logits.sigmoid() - targets
        logs = logits.log_softmax(dim=1)
        return -(logs * targets).sum(), logs.exp() - targets
