"""medsynth: procedural, seeded medical images with everything known about them.

From one latent state come the image, class label, lesion mask, patient, caption and questions.

Every image is a pure function of (seed, split, modality, index); nothing is downloaded and no
patient is in it. It serves where real data cannot be had: demonstrations, tests, training small
reference tokenizers. See `generate`, and `describe` for what needs no rendering.
"""

from __future__ import annotations

from .captions import UNNAMED
from .generate import CLASSES, GENERATOR_VERSION, MODALITIES, describe, generate
from .latent import HEALTHY, SPLITS
from .questions import Asked
from .sample import Description, Sample, StateValue

__all__ = [
    "CLASSES",
    "GENERATOR_VERSION",
    "HEALTHY",
    "MODALITIES",
    "SPLITS",
    "UNNAMED",
    "Asked",
    "Description",
    "Sample",
    "StateValue",
    "describe",
    "generate",
]
