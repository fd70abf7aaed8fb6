"""Frontal chest radiographs; nodules, consolidations, effusions, enlarged hearts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .branches import Roots, draw_branches, fork, grow
from .latent import Finding, Placement, chance, draw_finding, uniform
from .noise import power_noise, white_noise
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, step
from .xray_marks import add_marks

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "nodule", "consolidation", "effusion", "cardiomegaly")


@dataclass(frozen=True, slots=True)
class XrayState:
    """Latent state; lengths are fractions of the image side before the view's zoom."""

    finding: Finding
    lung_width: float
    lung_top: float
    lung_bottom: float
    heart: float
    rib_spacing: float
    rib_contrast: float
    rib_slope: float
    clavicle_rise: float
    diaphragm: float
    breast: float
    body_width: float
    shoulder: float
    arms: float
    aeration: float
    exposure: float
    contrast: float
    blur: float
    sharpness: float
    noise: float
    zoom: float
    tilt: float
    shift_x: float
    shift_y: float
    border: float
    marker: str
    wires: int


def draw_state(rng: np.random.Generator) -> XrayState:
    """Draw a chest, an exposure and a finding."""
    placement = Placement(offset=(0.13, 0.24), y=(0.32, 0.62), radius=(0.025, 0.075))
    return XrayState(
        finding=draw_finding(rng, CLASSES, placement),
        lung_width=uniform(rng, (0.14, 0.185)),
        lung_top=uniform(rng, (0.12, 0.19)),
        lung_bottom=uniform(rng, (0.66, 0.82)),
        heart=uniform(rng, (0.105, 0.15)),
        rib_spacing=uniform(rng, (0.064, 0.082)),
        rib_contrast=uniform(rng, (0.45, 1.25)),
        rib_slope=uniform(rng, (0.25, 0.6)),
        clavicle_rise=uniform(rng, (0.0, 0.24)),
        diaphragm=uniform(rng, (-0.03, 0.03)),
        breast=uniform(rng, (-0.3, 0.35)),
        body_width=uniform(rng, (0.38, 0.62)),
        shoulder=uniform(rng, (0.14, 0.3)),
        arms=uniform(rng, (0.0, 0.75)),
        aeration=uniform(rng, (0.6, 1.2)),
        exposure=uniform(rng, (-0.16, 0.16)),
        contrast=uniform(rng, (0.65, 1.2)),
        blur=uniform(rng, (0.4, 1.0)),
        sharpness=uniform(rng, (0.0, 0.9)),
        noise=uniform(rng, (0.002, 0.012)),
        zoom=uniform(rng, (0.82, 1.2)),
        tilt=float(rng.normal(0.0, 0.045)),
        shift_x=float(rng.normal(0.0, 0.035)),
        shift_y=float(rng.normal(0.0, 0.035)),
        border=uniform(rng, (0.01, 0.06)) if chance(rng, 0.3) else 0.0,
        marker=("L", "R", "")[int(rng.integers(3))],
        wires=int(rng.integers(1, 5)) if chance(rng, 0.25) else 0,
    )


@dataclass(frozen=True, slots=True)
class _Chest:
    """Body coordinates and the lungs: depth inside (n, n) and coverage 0 to 1."""

    x: Field
    y: Field
    side: Field
    depth: Field
    lungs: Field


def render(state: XrayState, canvas: Canvas) -> Rendering:
    """Add up the attenuation along the beam, then apply the detector's curve."""
    chest = _chest(state, canvas)
    body = _soft_tissue(state, canvas, chest)
    bones = _ribs(state, canvas, chest) + _girdle(state, canvas, chest)
    heart = _heart(state, canvas, chest)
    lesion, opacity = _lesion(state, canvas, chest, heart)
    density = body - np.float32(0.62 * state.aeration) * chest.lungs
    density += 0.42 * heart + _vessels(state, canvas, chest) * (1 - 0.75 * heart) + bones + opacity
    grey = 1 - np.exp(-np.float32(1.25) * np.maximum(density, 0))
    grey = _develop(state, canvas, grey)
    return Rendering(pixels=add_marks(state, canvas, grey), lesion=lesion)


def _chest(state: XrayState, canvas: Canvas) -> _Chest:
    dx = (canvas.x - 0.5 - state.shift_x) * np.float32(1 / state.zoom)
    dy = (canvas.y - 0.5 - state.shift_y) * np.float32(1 / state.zoom)
    x = 0.5 + dx * np.float32(np.cos(state.tilt)) + dy * np.float32(np.sin(state.tilt))
    y = 0.5 + dy * np.float32(np.cos(state.tilt)) - dx * np.float32(np.sin(state.tilt))
    wave = 0.006 * power_noise(canvas, 2.2, low=2.0, high=20.0)
    side = np.abs(x - 0.5)
    left = x > 0.5
    top, bottom = state.lung_top, state.lung_bottom
    uneven = 0.015 + state.diaphragm
    fall = np.where(left, np.float32(bottom - 0.03 + uneven), np.float32(bottom - 0.03 - uneven))
    centre = 0.075 + 0.065 * np.clip((y - top) / (bottom - top), 0, 1) + 0.045
    rise = np.clip((bottom - y) / np.float32(bottom - top), 0, 1.2)
    half = state.lung_width * np.sqrt(np.clip(1 - rise * rise * rise, 0, 1))
    half *= 0.76 + 0.24 * np.clip((y - top) / 0.35, 0, 1)
    across = half - np.abs(side - centre - 0.01) + wave
    dome = fall + 0.9 * (side - 0.17) ** 2 * 3 - 0.02
    below = dome + wave - y
    depth = np.minimum(np.minimum(across, below), 4 * (y - top)).astype(np.float32)
    return _Chest(x=x, y=y, side=side, depth=depth, lungs=step(depth - 0.004, 0.010))


def _soft_tissue(state: XrayState, canvas: Canvas, chest: _Chest) -> Field:
    """Trunk, shoulders, neck, breasts, mediastinum and the abdomen's higher density."""
    drop = np.clip(chest.side - 0.08, 0, 1) * 6
    shoulder = 0.02 + np.float32(state.shoulder) * (1 - np.exp(-drop))
    neck = np.where(chest.side < 0.11, 1.0, 0.0).astype(np.float32)
    neck = canvas.blur(neck, 4.0)
    trunk = step(chest.y - shoulder, 0.035)
    flank = step(np.float32(state.body_width) + 0.05 * (0.3 - chest.y) - chest.side, 0.03)
    arms = np.float32(state.arms) * step(
        chest.y - 0.12 - 0.3 * np.clip(chest.side - 0.3, 0, 1), 0.05
    )
    body = np.maximum(np.maximum(trunk * flank, 0.75 * neck), arms * trunk)
    thick = 0.85 + 0.12 * power_noise(canvas, 2.3, low=1.0, high=20.0)
    belly = step(chest.y - np.float32(state.lung_bottom), 0.14) * 0.45
    spine = np.exp(-((chest.side / 0.05) ** 4)) * 0.16
    pitch = np.cos(2 * np.pi * chest.y / 0.06)
    spine *= 1 + 0.22 * pitch
    trachea = 0.22 * np.exp(-((chest.side / 0.016) ** 2)) * step(0.4 - chest.y, 0.08)
    total = body * (thick + belly) + spine - trachea
    if state.breast > 0:
        cup = Ellipse(0.25, state.lung_bottom - 0.1, 0.17, 0.16)
        mirrored = 0.5 - chest.side
        total = total + np.float32(state.breast) * cup.cover(mirrored, chest.y, 0.03)
    if state.lung_bottom < 0.78:
        gas = Ellipse(0.5 + 0.16, state.lung_bottom + 0.06, 0.06, 0.035).cover(
            chest.x, chest.y, 0.02
        )
        total = total - 0.35 * gas
    return total


def _ribs(state: XrayState, canvas: Canvas, chest: _Chest) -> Field:
    """Posterior ribs arch outwards, anterior ribs slope down to the middle; edges are brighter."""
    spacing = np.float32(state.rib_spacing)
    u = chest.side
    wobble = 0.003 * power_noise(canvas, 2.0, low=2.0, high=12.0)
    posterior = chest.y - np.float32(state.rib_slope) * u * 0.4 - 6.5 * np.clip(u - 0.17, 0, 1) ** 2
    posterior += 0.05 * np.exp(-((u / 0.08) ** 2)) * 0.4
    anterior = chest.y + np.float32(0.6) * u + 2.5 * np.clip(u - 0.22, 0, 1) ** 2
    cage = step(chest.depth + 0.02, 0.02) * step(u - 0.03, 0.02)
    cage *= step(chest.y - np.float32(state.lung_top - 0.01), 0.02)
    total = canvas.zeros()
    for field, share, width in ((posterior, 0.12, 0.26), (anterior, 0.05, 0.28)):
        phase = (field + wobble) / spacing
        offset = np.abs(phase - np.floor(phase) - 0.5)
        inside = step(np.float32(width) - offset, 0.05)
        cortex = np.exp(-(((offset - width) / 0.06) ** 2))
        total += np.float32(share) * (0.75 * inside + 0.6 * cortex)
    fade = step(0.86 - chest.y, 0.1) * step(u - 0.1, 0.1)
    return np.float32(state.rib_contrast) * total * cage * (0.35 + 0.65 * fade)


def _girdle(state: XrayState, canvas: Canvas, chest: _Chest) -> Field:
    """Clavicles, scapular borders and humeral heads."""
    u, y = chest.side, chest.y
    line = (
        np.float32(state.lung_top + 0.075)
        - np.float32(state.clavicle_rise) * (u - 0.04)
        + 0.1 * np.sin(u * 16) * u
    )
    along = step(u - 0.03, 0.01) * step(0.34 - u, 0.02)
    gap = np.abs(y - line)
    clavicle = (
        0.22 * step(0.014 - gap, 0.004) + 0.1 * np.exp(-(((gap - 0.013) / 0.004) ** 2))
    ) * along
    blade = u - (0.31 + 0.2 * (y - 0.3))
    scapula = 0.12 * step(blade, 0.006) * step(0.45 - y, 0.04) * step(y - 0.15, 0.03)
    scapula *= step(0.11 - blade, 0.03)
    head = Ellipse(0.42, 0.17, 0.04, 0.045).cover(u, y, 0.006)
    shaft = step(0.028 - np.abs(u - 0.435 - 0.08 * (y - 0.2)), 0.006) * step(y - 0.17, 0.02)
    return clavicle + scapula + 0.2 * canvas.blur(np.maximum(head, shaft), 1.2)


def _heart(state: XrayState, canvas: Canvas, chest: _Chest) -> Field:
    size = state.heart
    if state.finding.label == "cardiomegaly":
        size *= 1.2 + 0.4 * state.finding.severity
    bottom = state.lung_bottom - 0.05
    heart = Ellipse(0.5 + 0.3 * size, bottom - 0.62 * size, size * 1.35, size * 0.86, 0.62)
    knob = Ellipse(0.535, state.lung_top + 0.18, 0.03, 0.035)
    right = Ellipse(0.5 - 0.2 * size, bottom - 0.6 * size, size * 0.55, size * 0.8)
    x = chest.x + 0.008 * power_noise(canvas, 2.0, low=2.5, high=20.0)
    shape = np.maximum(heart.cover(x, chest.y, 0.022), right.cover(x, chest.y, 0.02))
    wide = 0.058 + 0.018 * np.cos((chest.y - 0.35) * 9) + 0.004 * power_noise(canvas, 2.0, low=2.0)
    strip = 0.75 * step(wide - chest.side, 0.02) * step(chest.y - 0.12, 0.08)
    shape = np.maximum(np.maximum(shape, strip), 0.85 * knob.cover(chest.x, chest.y, 0.014))
    return shape * step(np.float32(bottom + 0.09) - chest.y, 0.03)


def _vessels(state: XrayState, canvas: Canvas, chest: _Chest) -> Field:
    """Hila and the vessels that leave them, fading outwards."""
    rng = canvas.rng
    hilum_y = 0.5 * (state.lung_top + state.lung_bottom) - 0.01
    angles = np.tile(np.linspace(-1.25, 1.25, 8), 2) + rng.normal(0, 0.15, 16)
    right = np.repeat([0.0, 1.0], 8)
    roots = Roots(
        x=0.5 + np.where(right > 0, 0.075, -0.075) + rng.normal(0, 0.008, 16),
        y=hilum_y + 0.05 * angles + rng.normal(0, 0.01, 16),
        heading=np.where(right > 0, angles, np.pi - angles),
        length=rng.uniform(0.12, 0.26, 16),
        radius=rng.uniform(0.004, 0.009, 16),
    )
    main = grow(rng, roots, wander=0.5, taper=0.3)
    twigs = grow(rng, fork(rng, main, children=4, length=(0.05, 0.13)), wander=0.6, taper=0.3)
    tree = np.maximum(draw_branches(canvas, main, 0.13), draw_branches(canvas, twigs, 0.08))
    texture = power_noise(canvas, 0.8, low=5.0, high=80.0)
    hilum = 0.16 * np.exp(-(((chest.side - 0.07) / 0.03) ** 2 + ((chest.y - hilum_y) / 0.06) ** 2))
    return (canvas.blur(tree, 0.7) + hilum + 0.018 * texture) * chest.lungs


def _lesion(state: XrayState, canvas: Canvas, chest: _Chest, heart: Field) -> tuple[Field, Field]:
    """Coverage of the finding and the density that it adds."""
    finding = state.finding
    if not finding.present:
        return canvas.zeros(), canvas.zeros()
    if finding.label == "cardiomegaly":
        return step(heart - 0.7, 0.1), canvas.zeros()
    same = (chest.x > 0.5) == (finding.x > 0.5)
    if finding.label == "effusion":
        level = state.lung_bottom - 0.045 - 0.2 * finding.severity
        surface = level - 0.5 * np.clip(chest.side - 0.15, 0, 1) + 0.02
        cover = step(chest.y - surface, 0.02) * chest.lungs * same
        return cover, np.float32(0.4 + 0.15 * finding.severity) * cover
    low, high = state.lung_top + 0.14, state.lung_bottom - 0.16
    y = float(np.clip(finding.y, low, high))
    outline = Ellipse(finding.x, y, finding.radius, finding.radius * 0.9)
    if finding.label == "nodule":
        cover = step(blob_depth(canvas, outline, roughness=0.05, lobes=4), 0.014) * chest.lungs
        return cover, np.float32(0.26 + 0.08 * finding.severity) * cover
    large = Ellipse(finding.x, y, finding.radius * 1.7, finding.radius * 1.9)
    cover = step(blob_depth(canvas, large, roughness=0.2), 0.05) * chest.lungs
    patch = np.clip(0.75 + 0.35 * power_noise(canvas, 1.4, low=5.0, high=70.0), 0, 2)
    return cover, 0.4 * cover * patch


def _develop(state: XrayState, canvas: Canvas, grey: Field) -> Field:
    grey = canvas.blur(grey, state.blur)
    grey = grey + np.float32(state.sharpness) * (grey - canvas.blur(grey, 2.5))
    middle = np.float32(0.52)
    grey = middle + (grey - middle) * np.float32(state.contrast) + np.float32(state.exposure)
    quantum = white_noise(canvas) * np.float32(state.noise)
    return canvas.blur(grey + quantum * (1.25 - np.clip(grey, 0, 1)), 0.25)


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "lung_width", "lung_top", "lung_bottom", "heart", "rib_spacing", "rib_contrast",
        "rib_slope", "clavicle_rise", "diaphragm", "breast", "body_width", "shoulder", "arms",
        "aeration", "exposure", "contrast", "sharpness", "border", "marker",
    ),
)  # fmt: skip
