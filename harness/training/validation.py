"""Looking at held-out images during training: exact metrics, use of the codes, and a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..locations import cache_root
from ..metrics.ms_ssim import SMALLEST_SIDE, structural_similarities
from ..metrics.psnr import psnr
from ..metrics.ssim import ssim
from .config_terms import require_at_least
from .latent_probe import LatentProbe, ProbeTerms
from .recipe import Validation
from .sources.build import build_source
from .trainable import Trainable

_BATCH_PIXELS = 16 * 256 * 256
_ERROR_GAIN = 4
"""The sheet shows errors four times as large."""


@dataclass(frozen=True, slots=True)
class ValidationTerms:
    """What is looked at.

    Attributes:
        source: a source of images without augmentation; see `sources.build_source`.
        images: how many of its first images.
        side: of the images, pixels.
        probe: labelled images whose classes the latents should tell; None: none.
    """

    source: Any
    images: int = 72
    side: int = 256
    probe: ProbeTerms | None = None

    def __post_init__(self) -> None:
        """Refuse a look at nothing."""
        require_at_least(1, self, "images", "side")


class TokenizerValidation:
    """Reconstructs held-out images as the benchmark would: 8-bit in, clamped and rounded out.

    Args:
        terms: what is looked at.
    """

    def __init__(self, terms: ValidationTerms) -> None:
        self.terms = terms
        self._probe = LatentProbe(terms.probe) if terms.probe is not None else None
        self._originals: NDArray[np.uint8] | None = None
        self._modalities: list[str] = []

    def look(self, trainable: Trainable, *, quantise: bool) -> Validation:
        """Scores and a sheet; the network must be in evaluation mode.

        Scores are `psnr` (dB), `ssim` and, from 161 pixels on, `ms_ssim` (in [0, 1]), macro means
        over the modalities, the same of each modality as `psnr/ct`, `usage`: the share of all
        codes that were taken, and those of the probe.
        """
        originals = self._load()
        made, indices = [], []
        count = max(_BATCH_PIXELS // self.terms.side**2, 1)
        device = trainable.last_layer.device
        for start in range(0, len(originals), count):
            batch = torch.from_numpy(originals[start : start + count]).to(device)
            images = batch.permute(0, 3, 1, 2).float() / 127.5 - 1
            generator = torch.Generator().manual_seed(0)
            found = trainable.reconstruct(images, quantise=quantise, generator=generator)
            made.append(_to_bytes(found.images))
            if found.indices is not None:
                indices.append(found.indices.cpu())
        reconstructions = np.concatenate(made)
        scores = self._scores(originals, reconstructions)
        if indices:
            taken = torch.cat(indices)
            shares = [
                len(taken[:, k].unique()) / len(book) for k, book in enumerate(trainable.books())
            ]
            scores["usage"] = float(np.mean(shares))
        if self._probe is not None:
            scores |= self._probe.scores(trainable, quantise=quantise)
        return Validation(scores, sheet(originals, reconstructions, self._picks()))

    def _load(self) -> NDArray[np.uint8]:
        if self._originals is None:
            terms = self.terms
            source = build_source(
                terms.source, seed=0, cache=cache_root(), where="validation.source"
            )
            samples = [source.sample(place, terms.side) for place in range(terms.images)]
            self._modalities = [sample.modality for sample in samples]
            pixels = torch.stack([sample.image for sample in samples])
            self._originals = (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()
        return self._originals

    def _scores(self, originals: NDArray[np.uint8], made: NDArray[np.uint8]) -> dict[str, float]:
        groups = np.array(self._modalities)
        scores: dict[str, float] = {}
        measured = {"psnr": psnr(originals, made)}
        if self.terms.side >= SMALLEST_SIDE:
            measured |= structural_similarities(originals, made)
        else:
            measured["ssim"] = ssim(originals, made)
        for name, values in measured.items():
            means = {group: float(values[groups == group].mean()) for group in np.unique(groups)}
            scores[name] = float(np.mean(list(means.values())))
            scores |= {f"{name}/{group}": mean for group, mean in means.items() if group}
        return scores

    def _picks(self) -> list[int]:
        """The first image of each modality."""
        return sorted(self._modalities.index(name) for name in set(self._modalities))


def sheet(
    originals: NDArray[np.uint8], made: NDArray[np.uint8], picks: Sequence[int]
) -> NDArray[np.uint8]:
    """Originals, reconstructions and errors of the picked images, a row each: uint8 (3H, nH, 3)."""
    error = np.abs(originals[picks].astype(np.int16) - made[picks]) * _ERROR_GAIN
    rows = (originals[picks], made[picks], error.clip(0, 255).astype(np.uint8))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def _to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """About [-1, 1] -> uint8 (B, H, W, 3), rounded half to even; brightness becomes grey."""
    values = ((images + 1) * 127.5).round().clamp(0, 255).byte()
    return values.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
