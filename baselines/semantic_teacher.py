"""What TokenFlow's semantic decoder learns to reproduce: a teacher's features at each cell.

Upstream's teacher is the frozen CLIP that its semantic encoder starts from. Where no weights can
be had, a fixed random network takes its place. Its features are of colour and texture and have no
semantics, so a tokenizer trained with it says so: `teacher: random-conv`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.metrics.extractors.random_conv import weights

_LAYERS = 4
"""Of the network, each of stride 2: one feature for each cell of 16 pixels."""
_NOISE_IMAGES = 64


class SemanticTeacher(Protocol):
    """Features that stay fixed while a tokenizer learns them."""

    @property
    def dims(self) -> int:
        """Features per cell."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features (B, H/16 · W/16, dims), raster order."""
        ...


class RandomConvTeacher:
    """The first layers of the `random-conv` extractor, standardised channel by channel.

    Means and deviations are those over images of smoothed noise. Without them most of every
    feature would be the same everywhere, and a cosine near 1 would say nothing.
    """

    def __init__(self) -> None:
        self._layers = [
            (torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in weights()
        ][:_LAYERS]
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(_NOISE_IMAGES, 3, 8, 8, generator=generator) * 2 - 1
        maps = self._maps(F.interpolate(noise, size=(64, 64), mode="bilinear"))
        variance, self._mean = torch.var_mean(maps, dim=(0, 2, 3), keepdim=True, correction=0)
        self._deviation = (variance + 1e-6).sqrt()

    @property
    def dims(self) -> int:
        """Features per cell."""
        return len(self._layers[-1][1])

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features (B, H/16 · W/16, dims), raster order."""
        maps = (self._maps(images) - self._mean) / self._deviation
        return maps.flatten(2).transpose(1, 2)

    def _maps(self, maps: Tensor) -> Tensor:
        for weight, bias in self._layers:
            padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
            maps = F.relu(F.conv2d(padded, weight, bias, stride=2))
        return maps


TEACHERS: dict[str, Callable[[], SemanticTeacher]] = {"random-conv": RandomConvTeacher}
"""By the name that training configurations give under `teacher`."""


def find_teacher(name: str) -> SemanticTeacher:
    """The teacher of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in TEACHERS:
        message = f"unknown teacher {name!r}; known: {', '.join(TEACHERS)}"
        raise UsageError(message)
    return TEACHERS[name]()
