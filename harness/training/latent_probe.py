"""What latents say of an image's class, during training: a linear probe in closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from ..locations import cache_root
from ..probing.ridge import ProbeSet, fast_probe
from .config_terms import require_at_least
from .sources.build import build_source
from .sources.source import TrainingImage
from .trainable import Trainable

_BATCH_PIXELS = 16 * 256 * 256


@dataclass(frozen=True, slots=True)
class ProbeTerms:
    """Which labelled images; no image and no patient may be in both sources.

    A class that few images have may be missing in one of them: it is left out, and so is a
    modality of which fewer than two classes remain.

    Attributes:
        fit: a source of labelled images without augmentation, for fitting; see
            `sources.build_source`.
        test: another one, for scoring.
        fit_images: how many of the first one's images are taken.
        test_images: how many of the other's.
        side: of the images, pixels; small ones are quick.
    """

    fit: Any
    test: Any
    fit_images: int = 720
    test_images: int = 360
    side: int = 128

    def __post_init__(self) -> None:
        """Refuse what tells nothing.

        Raises:
            UsageError: no images, or the same ones twice.
        """
        require_at_least(1, self, "fit_images", "test_images", "side")
        if self.fit == self.test:
            message = "fit and test are the same source: a probe must be scored on other images"
            raise UsageError(message)


class LatentProbe:
    """Probes the quantised latents within each modality, whose classes differ.

    Args:
        terms: which images.
    """

    def __init__(self, terms: ProbeTerms) -> None:
        self.terms = terms
        self._images: Tensor | None = None
        self._fit = 0
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
        """uint8 (N, 3, side, side), those to fit on first; read once."""
        if self._images is None:
            terms = self.terms
            fit = _first_images(terms.fit, terms.fit_images, terms.side, "fit")
            test = _first_images(terms.test, terms.test_images, terms.side, "test")
            classes = _shared_classes(fit, test)
            fit, test = (
                [sample for sample in part if (sample.modality, sample.label) in classes]
                for part in (fit, test)
            )
            samples = [*fit, *test]
            self._fit = len(fit)
            self._labels = [sample.label for sample in samples]
            self._modalities = [sample.modality for sample in samples]
            self._images = torch.stack([(s.image * 255).round().byte() for s in samples])
        return self._images

    def _map(self, features: NDArray[np.floating]) -> float:
        end = self._fit
        train = ProbeSet(features[:end], self._labels[:end], self._modalities[:end])
        test = ProbeSet(features[end:], self._labels[end:], self._modalities[end:])
        return fast_probe(train, test)["macro"].mean_average_precision


def _first_images(source_terms: Any, count: int, side: int, name: str) -> list[TrainingImage]:
    where = f"validation.probe.{name}"
    source = build_source(source_terms, seed=0, cache=cache_root(), where=where)
    if source.size is not None and source.size < count:
        message = f"{where} has {source.size} images; {name}_images asks for {count}"
        raise UsageError(message)
    return [source.sample(place, side) for place in range(count)]


def _shared_classes(
    fit: Sequence[TrainingImage], test: Sequence[TrainingImage]
) -> set[tuple[str, str]]:
    """Modality and label of the classes that both have."""
    first, second = ({(each.modality, each.label) for each in part} for part in (fit, test))
    counts = Counter(modality for modality, _ in first & second)
    shared = {one for one in first & second if counts[one[0]] > 1}
    if not shared:
        message = "validation.probe: no modality has two classes that fit and test both have"
        raise UsageError(message)
    return shared
