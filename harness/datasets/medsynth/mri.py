"""Head MRI in three orientations, five contrasts; tumours, infarcts, white matter lesions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .mri_anatomy import Tissues, add_deep_structures, fill_outside, fold_cortex, shape_head
from .mri_state import CLASSES, MriState, draw_state
from .noise import power_noise, white_noise
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, stamp_discs, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

# Signal of white matter, grey matter, fluid, fat, muscle, bone and lesion (enhancing part).
_SIGNALS: dict[str, tuple[float, ...]] = {
    "t1": (0.64, 0.42, 0.12, 0.95, 0.38, 0.05, 0.30),
    "t1_enhanced": (0.46, 0.37, 0.12, 0.90, 0.42, 0.05, 0.85),
    "t2": (0.30, 0.48, 0.98, 0.72, 0.22, 0.04, 0.80),
    "flair": (0.40, 0.54, 0.09, 0.75, 0.30, 0.04, 0.88),
    "pd": (0.50, 0.64, 0.58, 0.80, 0.42, 0.05, 0.76),
}


def render(state: MriState, canvas: Canvas) -> Rendering:
    """Fill the head with tissue signals, then apply coil bias, blur and Rician noise."""
    tissues = Tissues(*_SIGNALS[state.contrast])
    head = shape_head(state, canvas)
    signal = fill_outside(state, canvas, head, tissues)
    brain = fold_cortex(state, canvas, head, tissues)
    brain = add_deep_structures(state, canvas, head, tissues, brain)
    brain, lesion = _lesion(state, canvas, tissues, brain)
    inside = step(head.brain, 0.003)
    signal = signal + (brain - signal) * inside
    return Rendering(pixels=_acquire(state, canvas, signal), lesion=lesion * inside)


def _lesion(state: MriState, canvas: Canvas, tissues: Tissues, brain: Field) -> tuple[Field, Field]:
    finding = state.finding
    if not finding.present:
        return brain, canvas.zeros()
    x = state.centre_x + (finding.x - 0.5) * state.head_a / 0.33
    y = state.centre_y + (finding.y - 0.5) * state.head_b / 0.45 - 0.02
    if state.orientation != "axial":
        y = state.centre_y + (finding.y - 0.58) * state.head_b / 0.45
    bright = state.contrast in ("t2", "flair", "pd")
    if finding.label == "white_matter_lesions":
        rng = canvas.rng
        count = int(5 + 14 * finding.severity)
        spread = rng.normal(0, 0.6 * 0.1, (2, count))
        spread[:, 0] = 0.0
        radius = 0.35 * finding.radius * rng.uniform(0.3, 0.75, count)
        spots = stamp_discs(canvas, x + spread[0], y + 1.4 * spread[1], radius, 1.0)
        ragged = power_noise(canvas, 1.0, low=10.0, high=60.0) * (spots > 0.01)
        cover = step(canvas.blur(spots, 2.0) - 0.45 + 0.22 * canvas.blur(ragged, 0.8), 0.25)
        value = tissues.lesion if bright else 0.6 * tissues.grey
        return brain + (np.float32(value) - brain) * 0.85 * cover, cover
    outline = Ellipse(x, y, finding.radius, finding.radius * 0.85, state.bias_angle)
    depth = blob_depth(canvas, outline, roughness=0.1, lobes=8)
    texture = power_noise(canvas, 1.2, low=5.0, high=60.0)
    cover = step(depth, 0.005)
    if finding.label == "infarct":
        wedge = step(depth + 0.006 * texture, 0.012)
        value = tissues.lesion if bright else 0.55 * tissues.grey
        return brain + (np.float32(value) * (1 + 0.06 * texture) - brain) * 0.85 * wedge, cover
    swelling = step(depth + np.float32(0.035 + 0.03 * finding.severity) + 0.012 * texture, 0.02)
    oedema = 0.8 * tissues.lesion if bright else 0.72 * tissues.white
    brain = brain + (np.float32(oedema) - brain) * 0.6 * swelling
    value = tissues.lesion * (1 + 0.13 * texture)
    core = step(depth - np.float32(0.4 * finding.radius), 0.01) * np.float32(
        finding.severity > 0.45
    )
    value = value + (tissues.fluid * 1.3 + 0.05 - value) * core
    return brain + (value - brain) * cover, cover


def _acquire(state: MriState, canvas: Canvas, signal: Field) -> Field:
    """Coil bias, point spread, magnitude of a complex noisy signal, window."""
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    across = dx * math.cos(state.bias_angle) + dy * math.sin(state.bias_angle)
    bias = 1 + np.float32(state.bias) * (1.4 * across + 1.2 * (dx * dx + dy * dy))
    signal = canvas.blur(signal * bias, state.blur)
    if state.sharpening:
        signal = signal + np.float32(state.sharpening) * (signal - canvas.blur(signal, 1.2))
    real = signal + np.float32(state.noise) * white_noise(canvas)
    imaginary = np.float32(state.noise) * white_noise(canvas)
    magnitude = canvas.blur(np.sqrt(real * real + imaginary * imaginary), 0.3)
    grey = np.clip(magnitude * np.float32(state.gain), 0, 1) ** np.float32(state.gamma)
    if state.frame:
        edge = np.minimum(np.minimum(canvas.x, 1 - canvas.x), np.minimum(canvas.y, 1 - canvas.y))
        grey = np.maximum(grey, step(0.006 - np.abs(edge - 0.01), 0.003))
    return grey


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "orientation", "contrast", "head_a", "head_b", "centre_y", "scalp", "skull", "atrophy",
        "fold_scale", "ventricles", "bias", "bias_angle", "gain", "gamma", "frame",
    ),
)  # fmt: skip
