"""The sections of a configuration that trains a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .adversarial import AdversarialTerms
from .alignment import AlignmentTerms
from .config_terms import require_at_least
from .perceptual import PerceptualTerms
from .pixel_terms import PixelTerms
from .validation import ValidationTerms


@dataclass(frozen=True, slots=True)
class DataTerms:
    """Batches.

    Attributes:
        source: where images come from; see `sources.build_source`.
        batch_size: images per batch, all processes together.
        side: of the images (crops, where the source has larger ones), pixels.
        whole_from: step from which whole images are seen; None: never.
        whole_side: their side.
        whole_batch: how many make a batch.
        epoch_images: images of an epoch, for lengths that are given in epochs.
    """

    source: Any
    batch_size: int
    side: int
    whole_from: int | None = None
    whole_side: int = 256
    whole_batch: int = 1
    epoch_images: int | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no batch."""
        require_at_least(1, self, "batch_size", "side", "whole_side", "whole_batch", "epoch_images")
        require_at_least(0, self, "whole_from")

    def at(self, step: int) -> tuple[int, int]:
        """Images per batch, and their side, at a step."""
        if self.whole_from is not None and step >= self.whole_from:
            return self.whole_batch, self.whole_side
        return self.batch_size, self.side


@dataclass(frozen=True, slots=True)
class CodebookTerms:
    """The life of the codebooks.

    Attributes:
        quantise_from: step before which latents pass on as they are.
        kmeans_batches: batches whose encoder outputs give the first codes, at that step; 0 leaves
            the codes as the network starts with them.
        revive_until: step after which dead codes stay dead; 0 revives none.
        revive_every: steps between revivals.
    """

    quantise_from: int = 0
    kmeans_batches: int = 0
    revive_until: int = 0
    revive_every: int = 60

    def __post_init__(self) -> None:
        """Refuse steps that never come."""
        require_at_least(0, self, "quantise_from", "kmeans_batches", "revive_until")
        require_at_least(1, self, "revive_every")


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from: those of an earlier stage of the run, or a file."""

    stage: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Refuse neither and both."""
        if (self.stage is None) == (self.weights is None):
            message = "start must name either an earlier `stage` or a `weights` file"
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class TokenizerTerms:
    """All sections beside `model`, `method` and `settings`.

    Attributes:
        data: batches.
        pixels: terms that compare pixels.
        codebooks: how codes come to be and are kept alive.
        perceptual: a distance between features.
        adversarial: a discriminator.
        alignment: a teacher of the latents.
        validation: what is looked at now and then.
        start: weights to start from; from scratch where there is none.
    """

    data: DataTerms
    pixels: PixelTerms = field(default_factory=PixelTerms)
    codebooks: CodebookTerms = field(default_factory=CodebookTerms)
    perceptual: PerceptualTerms | None = None
    adversarial: AdversarialTerms | None = None
    alignment: AlignmentTerms | None = None
    validation: ValidationTerms | None = None
    start: Start | None = None


OTHERS = ("recipe", "summary", "model", "method", "settings")
"""Sections that others read."""


def sections(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that `TokenizerTerms` reads."""
    return {name: value for name, value in config.items() if name not in OTHERS}
