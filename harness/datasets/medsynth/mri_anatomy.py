"""Head anatomy for MRI: outline, scalp and face, folded cortex, deep structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .noise import band_noise, power_noise
from .shapes import Ellipse, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field
    from .mri_state import MriState


@dataclass(frozen=True, slots=True)
class Head:
    """Head coordinates (u, v: 1 on the skin), depth below the skin and inside the brain."""

    u: Field
    v: Field
    depth: Field
    brain: Field


@dataclass(frozen=True, slots=True)
class Tissues:
    """Signals of the tissues of one contrast."""

    white: float
    grey: float
    fluid: float
    fat: float
    muscle: float
    bone: float
    lesion: float


def shape_head(state: MriState, canvas: Canvas) -> Head:
    """Return the head's outline; below the brain coronal and sagittal slices have a neck."""
    wave = power_noise(canvas, 2.4, low=1.5, high=10.0)
    dx, dy = canvas.x - np.float32(state.centre_x), canvas.y - np.float32(state.centre_y)
    x = dx * np.float32(np.cos(state.tilt)) + dy * np.float32(np.sin(state.tilt)) + 0.004 * wave
    y = dy * np.float32(np.cos(state.tilt)) - dx * np.float32(np.sin(state.tilt)) + 0.003 * wave
    u, v = x / np.float32(state.head_a), y / np.float32(state.head_b)
    radius = np.sqrt(u * u * (1 + 0.08 * v) + v * v)
    small = min(state.head_a, state.head_b)
    depth = (1 - radius) * np.float32(small)
    shell = state.scalp + state.skull + 0.008
    brain = depth - np.float32(shell)
    if state.orientation == "axial":
        if state.level < 0.25:
            brain = np.minimum(brain, (v + 0.52 - 0.12 * np.abs(u)) * np.float32(small))
        return Head(u=u, v=v, depth=depth, brain=brain)
    neck_u = 0.0 if state.orientation == "coronal" else 0.25
    neck_width = 0.62 if state.orientation == "coronal" else 0.42
    neck = np.minimum((neck_width - np.abs(u - neck_u)) * np.float32(state.head_a), y)
    face = neck
    if state.orientation == "sagittal":
        profile = -0.8 - 0.15 * np.exp(-(((v - 0.6) / 0.12) ** 2)) + 0.25 * np.clip(v - 0.8, 0, 1)
        profile = profile - 0.05 * np.exp(-(((v - 1.13) / 0.07) ** 2)) + 0.02 * np.cos(24 * v)
        jaw = np.minimum(
            (u - profile) * np.float32(state.head_a), (0.35 - u) * np.float32(state.head_a)
        )
        face = np.maximum(
            neck, np.minimum(jaw, np.minimum(y, (1.27 - v - 0.12 * u) * np.float32(state.head_b)))
        )
    depth = np.maximum(depth, face + 0.01 * wave * 0.3)
    if state.orientation == "sagittal":
        # The three cranial fossae are steps that go down towards the back.
        floor = 0.36 + 0.2 * np.tanh(3.5 * u + 0.3) + 0.035 * np.sin(9 * u + 1)
    else:
        lobes = np.exp(-(((np.abs(u) - 0.5) / 0.24) ** 2))
        floor = 0.34 + 0.14 * lobes - 0.1 * np.abs(u)
    brain = np.minimum(brain, (floor - v) * np.float32(state.head_b) + 0.008 * wave)
    return Head(u=u, v=v, depth=depth, brain=brain)


def fill_outside(state: MriState, canvas: Canvas, head: Head, tissues: Tissues) -> Field:
    """Scalp fat, skull, and below the brain the face and neck."""
    texture = power_noise(canvas, 0.9, low=6.0, high=80.0)
    fat = tissues.fat * (1 + 0.12 * texture)
    bone = tissues.bone * (1 + 0.3 * texture)
    below = np.minimum(head.depth - np.float32(state.scalp), 0.2)
    signal = fat + (bone - fat) * step(below, 0.003)
    if state.orientation != "axial" or state.level < 0.25:
        flesh = _face(state, canvas, head, tissues)
        front = head.v - np.float32(0.25)
        if state.orientation == "axial":
            front = np.float32(-0.5) + 0.15 * np.abs(head.u) - head.v
        face = step(front, 0.06) * step(below - 0.004, 0.006)
        signal = signal + (flesh - signal) * face
    fluid = step(head.brain + 0.007, 0.003)
    signal = signal + (tissues.fluid - signal) * fluid
    return signal * step(head.depth, 0.003)


def _face(state: MriState, canvas: Canvas, head: Head, tissues: Tissues) -> Field:
    """Muscle and fat planes, air spaces, orbits, and in sagittal slices spine and cord."""
    u, v, side = head.u, head.v, np.abs(head.u)
    planes = band_noise(canvas, 6.0, width=0.6, stretch=2.2, angle=1.3)
    texture = power_noise(canvas, 1.1, low=5.0, high=80.0)
    muscle = tissues.muscle * (1 + 0.2 * texture)
    flesh = muscle + (0.8 * tissues.fat - muscle) * step(planes - 0.7 + 0.3 * texture, 0.3)
    flesh = flesh * (1 - 0.6 * step(-planes - 1.4 + 0.3 * texture, 0.2))
    wobble = 0.03 * texture
    if state.orientation == "sagittal":
        nose = Ellipse(-0.5, 0.62, 0.3, 0.13, 0.15).depth(u + wobble, v)
        throat = np.minimum(0.045 - np.abs(u + 0.06 - 0.05 * v + wobble), v - 0.55)
        flesh = flesh * (1 - 0.92 * step(np.maximum(nose, throat), 0.02))
        tongue = Ellipse(-0.38, 0.98, 0.27, 0.17).cover(u, v, 0.03)
        flesh = flesh + (muscle * 1.15 - flesh) * tongue
        bend = u - 0.2 - 0.06 * (v - 0.5)
        block = np.minimum(0.075 - np.abs(bend + 0.11), 0.3 * (np.cos(30 * v) + 0.75))
        marrow = 0.7 * tissues.fat * (1 + 0.1 * texture)
        flesh = flesh + (marrow - flesh) * step(block, 0.02)
        canal = step(0.075 - np.abs(bend - 0.04), 0.012)
        flesh = flesh + (tissues.fluid - flesh) * canal
        return flesh + (tissues.white - flesh) * step(0.04 - np.abs(bend - 0.04), 0.012)
    height = 0.5 if state.orientation == "coronal" else -0.75
    socket = Ellipse(0.36, height, 0.2, 0.19).cover(side, v, 0.03)
    flesh = flesh + (tissues.fat * 0.9 - flesh) * socket
    globe = Ellipse(0.36, height - 0.02, 0.125, 0.12).cover(side, v, 0.015)
    flesh = flesh + (tissues.fluid - flesh) * globe
    drop = 0.28 if state.orientation == "coronal" else 0.0
    antrum = Ellipse(0.3, height + drop, 0.13 * (drop > 0) + 1e-3, 0.14).depth(side + wobble, v)
    nasal = np.minimum(0.1 - side, 0.2 - np.abs(v - height - 0.5 * drop)) + 2 * wobble
    flesh = flesh * (1 - 0.92 * step(np.maximum(antrum, nasal), 0.02))
    if state.orientation == "coronal":
        tongue = Ellipse(0.0, 1.08, 0.3, 0.17).cover(u, v, 0.03)
        flesh = flesh + (muscle * 1.15 - flesh) * tongue
    return flesh


def fold_cortex(state: MriState, canvas: Canvas, head: Head, tissues: Tissues) -> Field:
    """Folded cortex: sulci are the zero lines of a warped band noise, deeper than they are wide."""
    first = band_noise(canvas, state.fold_scale, width=0.28)
    second = band_noise(canvas, state.fold_scale * 1.7, width=0.3)
    folds = np.abs(first + 0.25 * second)
    reach = np.clip(1 - head.brain / np.float32(0.125), 0, 1)
    sulcus = np.float32(0.05 + 0.16 * state.atrophy) * reach
    cortex = sulcus + 0.62 * np.sqrt(reach)
    cortex = np.maximum(cortex, 1.5 * (1 - np.clip(head.brain / 0.016, 0, 1)))
    texture = power_noise(canvas, 1.0, low=4.0, high=70.0)
    white = tissues.white * (1 + 0.035 * texture)
    grey = tissues.grey * (1 + 0.045 * texture)
    signal = white + (grey - white) * step(cortex - folds, 0.16)
    fluid = step(sulcus - folds, 0.06) * step(reach - 0.1, 0.1)
    signal = signal + (tissues.fluid - signal) * fluid
    if state.orientation == "sagittal":
        return signal
    wander = 0.006 * power_noise(canvas, 2.0, low=2.0, high=15.0)
    fissure = np.exp(-(((head.u + wander) / (0.012 + 0.012 * state.atrophy)) ** 2))
    fissure = fissure * step(np.abs(head.v + 0.02) - 0.3, 0.05)
    return signal + (tissues.fluid - signal) * 0.85 * fissure


def _midline(state: MriState, head: Head, tissues: Tissues, brain: Field, wobble: Field) -> Field:
    """Callosal arch over the ventricle, brain stem, and the cerebellum's leaves."""
    size, u, v = state.ventricles, head.u, head.v + wobble
    radius = np.sqrt(((u - 0.02) / 0.42) ** 2 + ((v - 0.05) / 0.36) ** 2)
    arch = step(0.10 - np.abs(radius - 0.9), 0.03) * step(0.02 - v, 0.06)
    brain = brain + (tissues.white * 1.04 - brain) * arch
    hollow = (
        step(np.float32(0.8) - radius, 0.05) * step(0.06 - v, 0.06) * step(v + 0.24 * size, 0.05)
    )
    brain = brain + (tissues.fluid - brain) * hollow
    stem = step(0.1 - np.abs(u - 0.14 - 0.1 * (v - 0.3)), 0.02) * step(v - 0.12, 0.04)
    brain = brain + (tissues.white - brain) * stem
    lobe = Ellipse(0.5, 0.32, 0.27, 0.22).depth(u, v)
    stripes = 0.5 + 0.5 * np.cos(60 * np.arctan2(v - 0.3, u - 0.26) * 0.35 + 25 * wobble)
    leaf = tissues.grey + (tissues.white - tissues.grey) * stripes
    return brain + (leaf - brain) * step(lobe, 0.02)


def add_deep_structures(
    state: MriState, canvas: Canvas, head: Head, tissues: Tissues, brain: Field
) -> Field:
    """Ventricles, basal ganglia; brain stem, cerebellum and callosal arch in sagittal slices."""
    size, side = state.ventricles, np.abs(head.u)
    u, v = head.u, head.v
    wobble = 0.02 * power_noise(canvas, 1.8, low=2.0, high=25.0)
    side, v = side + wobble, v + wobble
    if state.orientation == "sagittal":
        return _midline(state, head, tissues, brain, wobble)
    nuclei = Ellipse(0.3, 0.02, 0.1, 0.17, -0.3).cover(side, v, 0.02)
    nuclei = np.maximum(nuclei, Ellipse(0.13, 0.13, 0.1, 0.12).cover(side, v, 0.02))
    brain = brain + (tissues.grey - brain) * 0.8 * nuclei
    if state.orientation == "coronal":
        horn = Ellipse(0.12 * size, -0.12, 0.13 * size, 0.075 * size, -0.55)
        third = Ellipse(0.0, 0.12, 0.03 * size, 0.12)
        cover = np.maximum(horn.cover(side, v, 0.015), third.cover(side, v, 0.015))
    elif state.level > 0.3:
        front = Ellipse(0.12 * size, -0.2, 0.065 * size, 0.2 * size, -0.3)
        back = Ellipse(0.2 * size, 0.33, 0.06 * size, 0.2 * size, 0.35)
        cover = np.maximum(front.cover(side, v, 0.015), back.cover(side, v, 0.015))
        third = Ellipse(0.0, 0.1, 0.025 * size, 0.12).cover(side, v, 0.015)
        cover = np.maximum(cover, third)
    else:
        cistern = Ellipse(0.0, 0.02, 0.2, 0.14).depth(side, v)
        cover = step(0.03 - np.abs(cistern), 0.015)
        lobe = Ellipse(0.0, 0.58, 0.55, 0.27).cover(u, v, 0.02)
        stripes = 0.5 + 0.5 * np.cos(70 * v + 25 * u * u + 30 * wobble)
        leaf = tissues.grey + (tissues.white - tissues.grey) * stripes
        brain = brain + (leaf - brain) * lobe
    return brain + (tissues.fluid - brain) * np.clip(cover, 0, 1)
