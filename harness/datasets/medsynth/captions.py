"""Captions in clinical wording, written from the latent state.

A caption names the modality and view, the finding with its class, and its grade, its half of the
image and its size where they can be seen, and some of anatomy and acquisition. It says nothing
that the image does not show. The text stream chooses among phrasings and the order of sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import captions_photographs, captions_scans, captions_slides
from .captions_words import Parts

if TYPE_CHECKING:
    import numpy as np

SHORTEST = 80
"""Characters that every caption has at least."""

WRITERS: dict[str, Callable[[np.random.Generator, Any], Parts]] = {
    "ct": captions_scans.describe_ct,
    "dermoscopy": captions_photographs.describe_dermoscopy,
    "endoscopy": captions_photographs.describe_endoscopy,
    "fundus": captions_photographs.describe_fundus,
    "microscopy": captions_slides.describe_microscopy,
    "mri": captions_scans.describe_mri,
    "pathology": captions_slides.describe_pathology,
    "ultrasound": captions_scans.describe_ultrasound,
    "xray": captions_scans.describe_xray,
}
"""Writer of each modality."""

UNNAMED: dict[str, tuple[str, ...]] = {
    "ct": ("table", "arms", "body_a", "fat"),
    "dermoscopy": ("sticker", "skin_lines", "gloss"),
    "endoscopy": ("frame", "text", "box", "warmth"),
    "fundus": ("notch", "pigment", "field_radius"),
    "microscopy": ("hue", "crowding", "red_radius", "precipitate"),
    "mri": ("bias", "gain", "frame"),
    "pathology": ("hue", "nucleus", "fibre_angle"),
    "ultrasound": ("text", "shadows", "attenuation"),
    "xray": ("marker", "arms", "body_width", "breast"),
}
"""State fields that can be seen in the image but that no caption depends on.

They are drawn independently of everything that captions name, so what a model knows of them it has
from pixels, not from text.
"""

_ORDERS: tuple[str, ...] = (
    "{study} {finding} {detail} {acquisition}",
    "{study} {acquisition} {finding} {detail}",
    "{study} {detail} {finding} {acquisition}",
    "{finding} {study} {detail} {acquisition}",
    "{study} {acquisition} Findings: {finding} {detail}",
)


def write_caption(modality: str, state: Any, rng: np.random.Generator) -> str:
    """Return the caption of a state; the same generator state gives the same text."""
    parts = WRITERS[modality](rng, state)
    order = _ORDERS[int(rng.integers(len(_ORDERS)))]
    text = order.format(
        study=parts.study,
        finding=parts.finding,
        detail=parts.detail,
        acquisition=parts.acquisition,
    )
    return " ".join(text.split())
