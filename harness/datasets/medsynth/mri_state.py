"""Latent state of a head MRI slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .latent import Finding, Placement, chance, draw_finding, pick, uniform

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("normal", "tumour", "infarct", "white_matter_lesions")
ORIENTATIONS = ("axial", "axial", "coronal", "sagittal")
CONTRASTS = ("t1", "t1_enhanced", "t2", "flair", "pd")


@dataclass(frozen=True, slots=True)
class MriState:
    """Latent state; lengths are fractions of the image side."""

    finding: Finding
    orientation: str
    contrast: str
    head_a: float
    head_b: float
    centre_x: float
    centre_y: float
    tilt: float
    scalp: float
    skull: float
    level: float
    atrophy: float
    fold_scale: float
    ventricles: float
    bias: float
    bias_angle: float
    gain: float
    gamma: float
    noise: float
    blur: float
    sharpening: float
    frame: bool


def draw_state(rng: np.random.Generator) -> MriState:
    """Draw a head, a protocol and a finding."""
    placement = Placement(offset=(0.06, 0.17), y=(0.34, 0.6), radius=(0.035, 0.105))
    finding = draw_finding(rng, CLASSES, placement)
    orientation = pick(rng, ORIENTATIONS)
    wide, high = {"axial": (0.33, 0.41), "coronal": (0.34, 0.40), "sagittal": (0.42, 0.38)}[
        orientation
    ]
    scale = uniform(rng, (0.82, 1.1))
    return MriState(
        finding=finding,
        orientation=orientation,
        contrast=pick(rng, CONTRASTS),
        head_a=scale * wide * uniform(rng, (0.94, 1.06)),
        head_b=scale * high * uniform(rng, (0.94, 1.06)),
        centre_x=float(rng.normal(0.5, 0.012)),
        centre_y=float(rng.normal(0.5, 0.015)) - (0.03 if orientation != "axial" else 0.0),
        tilt=float(rng.normal(0.0, 0.04)),
        scalp=uniform(rng, (0.010, 0.026)),
        skull=uniform(rng, (0.012, 0.024)),
        level=uniform(rng, (0.0, 1.0)),
        atrophy=uniform(rng, (0.0, 1.0)) ** 1.5,
        fold_scale=uniform(rng, (9.0, 13.0)),
        ventricles=uniform(rng, (0.6, 1.4)),
        bias=uniform(rng, (0.0, 0.45)),
        bias_angle=uniform(rng, (0.0, 6.28)),
        gain=uniform(rng, (0.5, 1.2)),
        gamma=uniform(rng, (0.85, 1.35)),
        noise=uniform(rng, (0.006, 0.045)),
        blur=uniform(rng, (0.3, 0.8)),
        sharpening=uniform(rng, (0.0, 1.0)) if chance(rng, 0.5) else 0.0,
        frame=chance(rng, 0.04),
    )
