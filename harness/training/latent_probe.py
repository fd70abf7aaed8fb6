"""What latents say of an image's class, during training: a linear probe in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..locations import cache_root
from ..probing.ridge import ProbeSet, fast_probe
from .sources.build import build_source
from .trainable import Trainable

_BATCH_PIXELS = 16 * 256 * 256


@dataclass(frozen=True, slots=True)
class ProbeTerms:
    """Which labelled images.

    Attributes:
        source: a source of labelled images without augmentation; see `sources.build_source`.
        fit: how many of its first images the probe is fitted on.
        test: how many of the following ones it is scored on.
        side: of the images, pixels; small ones are quick.
    """

    source: Any
    fit: int = 720
    test: int = 360
    side: int = 128


class LatentProbe:
    """Probes the quantised latents within each modality, whose classes differ.

    Args:
        terms: which images.
    """

    def __init__(self, terms: ProbeTerms) -> None:
        self.terms = terms
        self._images: Tensor | None = None
        self._labels: list[str] = []
        self._modalities: list[str] = []

    def scores(self, trainable: Trainable, *, quantise: bool) -> dict[str, float]:
        """Macro mAP in [0, 1] of all positions (`map_flat`) and of their mean (`map_mean`).

        `fast_probe` says what the values can be compared with: each other, over the run.
        """
        images = self._load()
        flat, mean = [], []
        count = max(_BATCH_PIXELS // self.terms.side**2, 1)
        device = trainable.last_layer.device
        for batch in images.split(count):
            generator = torch.Generator().manual_seed(0)
            seen = batch.to(device).float() / 127.5 - 1
            latents = trainable.reconstruct(seen, quantise=quantise, generator=generator).latents
            flat.append(latents.flatten(1).float().cpu().numpy())
            mean.append(latents.mean(dim=(2, 3)).float().cpu().numpy())
        found = {"map_flat": np.concatenate(flat), "map_mean": np.concatenate(mean)}
        return {name: self._map(features) for name, features in found.items()}

    def _load(self) -> Tensor:
        """uint8 (N, 3, side, side), read once."""
        if self._images is None:
            terms = self.terms
            source = build_source(
                terms.source, seed=0, cache=cache_root(), where="validation.probe.source"
            )
            samples = [source.sample(p, terms.side) for p in range(terms.fit + terms.test)]
            self._labels = [sample.label for sample in samples]
            self._modalities = [sample.modality for sample in samples]
            self._images = torch.stack([(s.image * 255).round().byte() for s in samples])
        return self._images

    def _map(self, features: NDArray[np.floating]) -> float:
        end = self.terms.fit
        train = ProbeSet(features[:end], self._labels[:end], self._modalities[:end])
        test = ProbeSet(features[end:], self._labels[end:], self._modalities[end:])
        return fast_probe(train, test)["macro"].mean_average_precision
