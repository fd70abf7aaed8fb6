"""What TokenFlow's semantic decoder learns to reproduce: a teacher's features at each cell.

Upstream's teacher is the frozen CLIP that its semantic encoder starts from. On the controlled
track it is the teacher in miniature, which the other methods learn from too (`teacher: {name:
miniature, stage: STAGE}`). `random-conv` needs no training: its features are of colour and texture
and have no semantics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..harness.datasets.medsynth import MODALITIES, generate
from ..harness.errors import UsageError
from ..harness.metrics.extractors.random_conv import weights
from ..harness.training.teachers.build import miniature_folder
from ..harness.training.teachers.clip_teacher import to_side
from ..harness.training.teachers.miniature import load_miniature
from ..harness.training.teachers.protocol import TeacherTerms

_CELL = 16
"""Pixels along the side of a cell that gets one feature vector."""
_LAYERS = 4
"""Of the network, each of stride 2: one feature for each cell of 16 pixels."""
_NOISE_IMAGES = 64
_KNOWN_IMAGES = 8
"""Procedural images of each modality that say what is usual for a channel."""


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

    Means and deviations are those over images of smoothed noise.
    """

    def __init__(self) -> None:
        self._layers = [
            (torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in weights()
        ][:_LAYERS]
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(_NOISE_IMAGES, 3, 8, 8, generator=generator) * 2 - 1
        self._usual = _Usual(self._maps(F.interpolate(noise, size=(64, 64), mode="bilinear")))

    @property
    def dims(self) -> int:
        """Features per cell."""
        return len(self._layers[-1][1])

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features (B, H/16 · W/16, dims), raster order."""
        return self._usual.standardised(self._maps(images)).flatten(2).transpose(1, 2)

    def _maps(self, maps: Tensor) -> Tensor:
        for weight, bias in self._layers:
            padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
            weight, bias = weight.to(maps.device), bias.to(maps.device)
            maps = F.relu(F.conv2d(padded, weight, bias, stride=2))
        return maps


class MiniatureTeacher:
    """The last maps of the teacher in miniature's image tower, standardised channel by channel.

    The tower sees the image at its own side, as in contrastive alignment; its maps are brought to
    one vector for each cell of 16 pixels. Means and deviations are those over procedural images.

    Args:
        folder: of the stage that trained it.

    Raises:
        MissingPrerequisite: it has not been trained to its end.
        UsageError: its files are damaged.
    """

    def __init__(self, folder: Path) -> None:
        tower: Any = load_miniature(folder).tower("vision")
        self._trunk = tower.trunk.eval().requires_grad_(False)
        self._side = int(tower.image_size)
        known = [
            torch.from_numpy(generate(modality, index, split="train", size=self._side).image)
            for modality in MODALITIES
            for index in range(_KNOWN_IMAGES)
        ]
        images = torch.stack(known).permute(0, 3, 1, 2).float() / 127.5 - 1
        self._usual = _Usual(self._maps(images))

    @property
    def dims(self) -> int:
        """Features per cell."""
        return int(self._trunk.num_features)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> features (B, H/16 · W/16, dims), raster order."""
        cells = (images.shape[-2] // _CELL, images.shape[-1] // _CELL)
        maps = self._usual.standardised(self._maps(images))
        maps = F.interpolate(maps, size=cells, mode="bilinear")
        return maps.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def _maps(self, images: Tensor) -> Tensor:
        trunk = self._trunk.to(images.device)
        return trunk.forward_features(to_side(images, self._side, "area"))


class _Usual:
    """Mean and deviation of each channel of maps (B, C, h, w), to standardise others by.

    Without them most of every feature would be the same everywhere, and a cosine near 1 would say
    nothing.
    """

    def __init__(self, maps: Tensor) -> None:
        variance, self._mean = torch.var_mean(maps, dim=(0, 2, 3), keepdim=True, correction=0)
        self._deviation = (variance + 1e-6).sqrt()

    def standardised(self, maps: Tensor) -> Tensor:
        return (maps - self._mean.to(maps.device)) / self._deviation.to(maps.device)


TEACHERS = ("random-conv", "miniature")
"""Names that training configurations give under `method.teacher`."""


def find_teacher(terms: TeacherTerms, run_folder: Path) -> SemanticTeacher:
    """The teacher that a configuration names.

    Args:
        terms: what it says; `miniature` needs `stage` or `weights`, a folder.
        run_folder: the folder in which the run's stages lie.

    Raises:
        MissingPrerequisite: the teacher in miniature has not been trained.
        UsageError: there is no such teacher, or not enough is said of it.
    """
    if terms.name not in TEACHERS:
        message = f"unknown teacher {terms.name!r}; known: {', '.join(TEACHERS)}"
        raise UsageError(message)
    if not terms.frozen:
        message = "the teacher of semantic cells stays as it is: leave out `frozen: false`"
        raise UsageError(message)
    if terms.name == "random-conv":
        return RandomConvTeacher()
    return MiniatureTeacher(miniature_folder(terms, run_folder))
