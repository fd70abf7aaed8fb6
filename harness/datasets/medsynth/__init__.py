"""medsynth: procedural, seeded medical images with labels, masks and latent states.

Every image is a pure function of (seed, split, modality, index); nothing is downloaded and no
patient is in it. It serves where real data cannot be had: demonstrations, tests, training small
reference tokenizers. See `generate`.
"""

from __future__ import annotations

from .generate import CLASSES, GENERATOR_VERSION, MODALITIES, generate
from .latent import HEALTHY, SPLITS
from .sample import Sample, StateValue

__all__ = [
    "CLASSES",
    "GENERATOR_VERSION",
    "HEALTHY",
    "MODALITIES",
    "SPLITS",
    "Sample",
    "StateValue",
    "generate",
]
