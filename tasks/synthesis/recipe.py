"""The generator's training: batches of codes from the cache, and cross entropy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...harness.training import parallel
from ...harness.training.recipe import Recipe, StepLosses
from .generator.network import Generator


@dataclass(frozen=True, slots=True, eq=False)
class CodeBatch:
    """One process's share of a batch.

    Attributes:
        classes: int64 (b,).
        tokens: int64 (b, K, L).
    """

    classes: Tensor
    tokens: Tensor


class GeneratorRecipe(Recipe):
    """Predicts every code from the class and the codes before it.

    Args:
        network: the generator.
        indices: unsigned integers (N, K, L), memory-mapped.
        classes: int64 (N,).
        batch_size: images per step over all processes.
        positions: of each image whose loss is taken, drawn anew at every step; 0: all.
        context_noise: mean share of an image's places at which the network is given the codes of
            another place of another image. It must still tell the true ones, so it learns to go
            on from codes that are not quite right, as its own are, and to heed the class at
            every place, where the codes before would nearly do.
        seed: of the order of images.
    """

    def __init__(
        self,
        network: Generator,
        indices: np.ndarray,
        classes: np.ndarray,
        *,
        batch_size: int,
        positions: int = 0,
        context_noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.model = network
        self.network = network
        self._indices, self._classes = indices, classes
        self._batch_size, self._positions, self._seed = batch_size, positions, seed
        self._context_noise = context_noise
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batches(self, first_step: int) -> Iterator[CodeBatch]:
        """Every image once per epoch, in an order of the epoch's own."""
        rows = parallel.own_rows(self._batch_size)
        start = first_step * self._batch_size
        while True:
            yield self.batch(range(start + rows.start, start + rows.stop))
            start += self._batch_size

    def batch(self, places: range) -> CodeBatch:
        """The images at these places of the run's sequence."""
        chosen = np.array([self._row(place) for place in places])
        tokens = self._indices[chosen].astype(np.int64)
        return CodeBatch(torch.from_numpy(self._classes[chosen]), torch.from_numpy(tokens))

    def _row(self, place: int) -> int:
        epoch, within = divmod(place, len(self._indices))
        if self._order[0] != epoch:
            source = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, source.permutation(len(self._indices)))
        return int(self._order[1][within])

    def losses(self, step: int, batch: CodeBatch, generator: torch.Generator) -> StepLosses:
        """Mean cross entropy, nats per code."""
        del step
        config = self.network.config
        rows = parallel.own_rows(self._batch_size)
        # Drawn for the whole batch, so that processes agree.
        withheld = torch.rand(self._batch_size, generator=generator) < config.class_dropout_prob
        classes = batch.classes.masked_fill(withheld[rows], config.num_classes)
        positions = None
        if 0 < self._positions < config.block_size:
            order = torch.rand(self._batch_size, config.block_size, generator=generator)
            positions = order[rows].argsort(dim=1)[:, : self._positions]
        context = self._noisy(batch.tokens, rows, generator) if self._context_noise else None
        device = next(self.network.parameters()).device
        loss = self.network.loss(
            classes.to(device),
            batch.tokens.to(device),
            positions.to(device) if positions is not None else None,
            context=context.to(device) if context is not None else None,
        )
        bits = loss.detach() / np.log(2)
        return StepLosses({"cross_entropy": loss}, {"bits_per_code": bits}, len(batch.classes))

    def _noisy(self, tokens: Tensor, rows: slice, generator: torch.Generator) -> Tensor:
        """Tokens (b, K, L), some places replaced: of each image up to twice the mean share."""
        shape = (self._batch_size, tokens.shape[2])
        shares = torch.rand(shape[0], 1, generator=generator) * 2 * self._context_noise
        replaced = (torch.rand(shape, generator=generator) < shares)[rows]
        images = torch.randint(len(self._indices), shape, generator=generator)[rows]
        places = torch.randint(shape[1], shape, generator=generator)[rows]
        others = self._indices[images.numpy(), :, places.numpy()].astype(np.int64)
        return torch.where(replaced[:, None], torch.from_numpy(others).transpose(1, 2), tokens)

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As they are: upstream's keys."""
        return dict(weights)
