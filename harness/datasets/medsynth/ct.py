"""Axial thorax CT in Hounsfield units; nodules, effusions, consolidations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .branches import Roots, draw_branches, fork, grow
from .ct_table import add_table
from .latent import Finding, Placement, chance, draw_finding, uniform
from .noise import band_noise, power_noise
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, stamp_discs, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "nodule", "effusion", "consolidation")


@dataclass(frozen=True, slots=True)
class CtState:
    """Latent state; lengths are fractions of the image side, densities Hounsfield units."""

    finding: Finding
    level: float
    body_a: float
    body_b: float
    centre_x: float
    centre_y: float
    roll: float
    fat: float
    lung_a: float
    lung_b: float
    lung_density: float
    enhancement: float
    noise: float
    kernel: float
    sharpening: float
    emphysema: float
    dependent: float
    table: str
    arms: bool


def draw_state(rng: np.random.Generator) -> CtState:
    """Draw a slice level (0 apex to 1 base), a body, a protocol and a finding."""
    placement = Placement(offset=(0.13, 0.21), y=(0.4, 0.54), radius=(0.018, 0.055))
    size = uniform(rng, (0.76, 1.12))
    return CtState(
        finding=draw_finding(rng, CLASSES, placement),
        level=uniform(rng, (0.0, 1.0)),
        body_a=size * uniform(rng, (0.4, 0.46)),
        body_b=size * uniform(rng, (0.27, 0.33)),
        centre_x=float(rng.normal(0.5, 0.035)),
        centre_y=float(rng.normal(0.47, 0.04)),
        roll=float(rng.normal(0.0, 0.07)),
        fat=uniform(rng, (0.015, 0.05)),
        lung_a=uniform(rng, (0.28, 0.37)),
        lung_b=uniform(rng, (0.62, 0.78)),
        lung_density=uniform(rng, (-900.0, -780.0)),
        enhancement=uniform(rng, (0.0, 250.0)) if chance(rng, 0.5) else 0.0,
        noise=float(12.0 * np.exp(uniform(rng, (0.0, 2.6)))),
        kernel=uniform(rng, (35.0, 150.0)),
        sharpening=uniform(rng, (0.0, 1.8)),
        emphysema=uniform(rng, (0.0, 1.0)) ** 3,
        dependent=uniform(rng, (0.0, 1.0)) ** 1.5,
        table=("curved", "double", "wedge", "none")[int(rng.integers(4))],
        arms=chance(rng, 0.15),
    )


@dataclass(frozen=True, slots=True)
class _Body:
    """Body coordinates (u, v: 1 on the skin), skin depth, lung depth, lung side."""

    u: Field
    v: Field
    depth: Field
    lung_depth: Field
    lungs: Field


def render(state: CtState, canvas: Canvas) -> Rendering:
    """Build up the densities from outside to inside, then add the scanner's blur and noise."""
    body = _body(state, canvas)
    density = _wall(state, canvas, body)
    density = _mediastinum(state, canvas, body, density)
    density = _lung(state, canvas, body, density)
    density, lesion = _lesion(state, canvas, body, density)
    density = _bones(state, canvas, body, density)
    density = add_table(state, canvas, body.depth, density)
    density = canvas.blur(density, 0.55)
    density = density + np.float32(state.sharpening) * (density - canvas.blur(density, 1.3))
    return Rendering(pixels=density + _noise(state, canvas, body), lesion=lesion)


def _body(state: CtState, canvas: Canvas) -> _Body:
    wave = power_noise(canvas, 2.4, low=1.5, high=14.0)
    x, y = canvas.x + 0.004 * wave, canvas.y - 0.004 * wave
    x, y = x - np.float32(state.centre_x), y - np.float32(state.centre_y)
    cosine, sine = np.float32(np.cos(state.roll)), np.float32(np.sin(state.roll))
    u = (x * cosine + y * sine) / np.float32(state.body_a)
    v = (y * cosine - x * sine) / np.float32(state.body_b)
    radius = (np.abs(u) ** 2.3 + np.abs(v) ** 2.3) ** np.float32(1 / 2.3)
    breast = 0.05 * np.exp(-(((np.abs(u) - 0.5) / 0.28) ** 2)) * step(-v - 0.5, 0.3)
    depth = (1 + breast - radius) * np.float32(state.body_b)
    shrink = 0.62 + 0.38 * np.clip(state.level * 2.2, 0, 1)
    centre = 0.43 * (0.9 + 0.1 * shrink)
    a, b = state.lung_a * shrink, state.lung_b * shrink
    du, dv = (np.abs(u) - np.float32(centre)) / np.float32(a), (v + 0.02) / np.float32(b)
    lung_radius = (np.abs(du) ** 2.2 + np.abs(dv) ** 2.2) ** np.float32(1 / 2.2)
    lung_depth = (1 - lung_radius) * np.float32(a * state.body_a) + 0.002 * wave
    # The spine and the great vessels dent the lungs towards the middle.
    dent = np.sqrt((u / 0.24) ** 2 + ((v - 0.52) / 0.3) ** 2) - 1
    lung_depth = np.minimum(lung_depth, dent * np.float32(0.26 * state.body_b))
    return _Body(u=u, v=v, depth=depth, lung_depth=lung_depth, lungs=step(lung_depth, 0.004))


def _wall(state: CtState, canvas: Canvas, body: _Body) -> Field:
    """Air, skin, fat with septa, and striated muscle around the chest."""
    strands = power_noise(canvas, 1.0, low=6.0, high=60.0)
    fat = -100 + 14 * strands
    muscle = 52 + 9 * strands
    planes = band_noise(canvas, 15.0, width=0.45, stretch=3.0)
    marbled = muscle + (fat - muscle) * step(np.abs(planes) * -1 + 0.28, 0.1)
    inner = step(body.depth - np.float32(state.fat) * (1 + 0.35 * planes), 0.006)
    tissue = fat + (marbled - fat) * inner
    skin = np.exp(-(((body.depth - 0.004) / 0.004) ** 2))
    tissue = tissue + 110 * skin * (1 - inner)
    return -1000 + (tissue + 1000) * step(body.depth, 0.003)


def _mediastinum(state: CtState, canvas: Canvas, body: _Body, density: Field) -> Field:
    u, v, rise = body.u, body.v, state.enhancement
    gap = step(0.34 - np.abs(u), 0.05) * step(0.72 - np.abs(v), 0.05)
    density = density + (-90 - density) * gap * 0.85
    blood = 42 + rise
    parts: list[tuple[Ellipse, float]] = []
    if state.level > 0.45:
        size = _heart_size(state)
        parts.append((Ellipse(0.1, -0.22, size * 1.05, size * 1.1, 0.5), 45 + 0.75 * rise))
        parts.append((Ellipse(0.2, -0.16, size * 0.5, size * 0.62, 0.5), 45 + rise))
    else:
        parts += [
            (Ellipse(-0.07, -0.33, 0.07, 0.11), blood),
            (Ellipse(0.09, -0.3, 0.09, 0.12), blood),
        ]
        parts.append((Ellipse(0.02, -0.14, 0.16, 0.09, 0.4), blood))
    parts.append((Ellipse(0.13, 0.33, 0.062, 0.1), blood))
    parts.append((Ellipse(0.03, 0.2, 0.04, 0.06), 35.0))
    if state.level > 0.8:
        parts.append((Ellipse(-0.42, -0.05, 0.33, 0.5), 58 + 0.35 * rise))
    for ellipse, value in parts:
        # Ellipses live in body coordinates: softness there is about 2.5 times finer.
        cover = ellipse.cover(u, v, 0.012)
        density = density + (np.float32(value) - density) * cover
    return density + 6 * power_noise(canvas, 1.2, low=3.0, high=50.0) * gap


def _heart_size(state: CtState) -> float:
    return 0.2 + 0.22 * min(1.0, (state.level - 0.45) * 2.5)


def _lung(state: CtState, canvas: Canvas, body: _Body, density: Field) -> Field:
    """Parenchyma with vessels, bronchi and, at times, emphysematous holes."""
    liver = Ellipse(-0.42, -0.05, 0.33, 0.5).cover(body.u, body.v, 0.02) * (state.level > 0.8)
    heart = canvas.zeros()
    if state.level > 0.45:
        size = _heart_size(state)
        heart = Ellipse(0.1, -0.2, size * 1.1, size * 1.15, 0.5).cover(body.u, body.v, 0.012)
    lungs = body.lungs * (1 - np.maximum(liver, heart))
    texture = power_noise(canvas, 0.7, low=5.0, high=90.0)
    tilt = 45 * body.v
    parenchyma = state.lung_density + tilt + 28 * texture
    # Lung that lies lowest is compressed: a hazy rim in healthy scans too.
    sunk = np.exp(-np.clip(body.lung_depth, 0, 1) / np.float32(0.035))
    sunk = sunk * step(body.v - 0.15, 0.25) * np.clip(1 + 0.5 * texture, 0, 2)
    parenchyma = parenchyma + np.float32(560 * state.dependent) * sunk
    holes = step(band_noise(canvas, 22.0, width=0.5) - 2.2 + 1.6 * state.emphysema, 0.2)
    parenchyma = parenchyma - 90 * holes
    tree = _lung_vessels(state, canvas)
    parenchyma = parenchyma + (40 + 0.6 * state.enhancement - parenchyma) * np.clip(tree, 0, 1)
    density = density + (parenchyma - density) * lungs
    airway = canvas.zeros()
    if state.level < 0.4:
        airway = Ellipse(-0.01, -0.02, 0.055, 0.075).cover(body.u, body.v, 0.012)
    elif state.level < 0.65:
        for side in (-1, 1):
            bronchus = Ellipse(0.12 * side, 0.02, 0.07, 0.05, 0.4 * side)
            airway = np.maximum(airway, bronchus.cover(body.u, body.v, 0.012))
    return density + (-990 - density) * airway


def _lung_vessels(state: CtState, canvas: Canvas) -> Field:
    rng = canvas.rng
    angles = np.tile(np.linspace(-1.3, 1.3, 7), 2) + rng.normal(0, 0.2, 14)
    right = np.repeat([0.0, 1.0], 7)
    root_x = state.centre_x + np.where(right > 0, 1, -1) * 0.2 * state.body_a
    roots = Roots(
        x=root_x + rng.normal(0, 0.01, 14),
        y=state.centre_y + rng.normal(0, 0.03, 14),
        heading=np.where(right > 0, angles, np.pi - angles),
        length=rng.uniform(0.08, 0.2, 14),
        radius=rng.uniform(0.003, 0.0075, 14),
    )
    main = grow(rng, roots, wander=0.6, taper=0.3)
    twigs = grow(rng, fork(rng, main, children=3, length=(0.03, 0.09)), wander=0.6, taper=0.3)
    count = 170
    x = state.centre_x + rng.uniform(-0.85, 0.85, count) * state.body_a
    y = state.centre_y + rng.uniform(-0.75, 0.75, count) * state.body_b
    dots = stamp_discs(
        canvas, x, y, 0.0028 * rng.lognormal(0, 0.4, count), rng.uniform(0.3, 1, count)
    )
    twig = draw_branches(canvas, twigs, rng.uniform(0.4, 0.9, twigs.x.shape[0]))
    return np.maximum(np.maximum(draw_branches(canvas, main, 0.95), twig), dots)


def _lesion(state: CtState, canvas: Canvas, body: _Body, density: Field) -> tuple[Field, Field]:
    finding = state.finding
    if not finding.present:
        return density, canvas.zeros()
    same = ((canvas.x > state.centre_x) == (finding.x > 0.5)).astype(np.float32)
    side = 1.0 if finding.x > 0.5 else -1.0
    if finding.label == "effusion":
        surface = 0.46 - 0.42 * finding.severity + 0.35 * (np.abs(body.u) - 0.45) ** 2
        cover = step(body.v - surface, 0.02) * step(body.lung_depth - 0.001, 0.004) * same
        return density + (12 - density) * cover, cover
    x = state.centre_x + side * state.body_a * (0.36 + 0.18 * (abs(finding.x - 0.5) - 0.13) / 0.08)
    x, y = (
        x - state.roll * state.body_b * (finding.y - 0.47) * 2.5,
        (
            state.centre_y
            + state.body_b * (finding.y - 0.47) * 2.5
            + state.roll * (x - state.centre_x)
        ),
    )
    scale = 1.0 if finding.label == "nodule" else 1.9
    outline = Ellipse(x, y, finding.radius * scale, finding.radius * scale * 0.85, side * 0.5)
    rough, lobes = (0.1, 12) if finding.label == "nodule" else (0.22, 9)
    edge = 0.004 if finding.label == "nodule" else 0.02
    cover = step(blob_depth(canvas, outline, roughness=rough, lobes=lobes), edge)
    if finding.label == "nodule":
        return density + (45 + 0.2 * state.enhancement - density) * cover, cover
    cover = cover * body.lungs
    patch = np.clip(0.7 + 0.25 * power_noise(canvas, 1.0, low=5.0, high=70.0), 0.2, 1)
    full = Ellipse(x, y, 0.02, 0.02).cover(canvas.x, canvas.y, 0.01) * body.lungs
    return density + (20 - density) * np.maximum(cover * patch, 0), np.maximum(cover, full)


def _bones(state: CtState, canvas: Canvas, body: _Body, density: Field) -> Field:
    """Vertebra with canal and processes, ribs around the lungs, sternum, scapulae near the apex."""
    u, v = body.u, body.v
    side = np.abs(u)
    marrow = 230 + 70 * power_noise(canvas, 0.6, low=8.0, high=90.0)
    vertebra = Ellipse(0.0, 0.48, 0.115, 0.15).depth(u, v)
    lamina = Ellipse(0.0, 0.71, 0.12, 0.1).depth(u, v)
    process = np.minimum(0.028 - side, 0.12 - np.abs(v - 0.87))
    wing = np.minimum(0.045 - 0.1 * side - np.abs(v - 0.66 - 0.35 * (side - 0.1)), 0.3 - side)
    bone = np.maximum(np.maximum(vertebra, lamina), np.maximum(process, wing))
    canal = Ellipse(0.0, 0.665, 0.062, 0.062).depth(u, v)
    shell = -body.lung_depth / np.float32(state.body_b)
    theta = np.arctan2(v, side - np.float32(0.43))
    rib_phase = np.sin(theta * 4.2 + 5.0 * state.level + 0.7 * np.sign(u))
    rib = np.minimum(0.038 - np.abs(shell - 0.09 - 0.03 * rib_phase), 0.07 * (rib_phase - 0.2))
    rib = np.where((side > 0.3) & (body.depth > 0.01), rib, -1)
    sternum = Ellipse(0.0, -0.84, 0.19, 0.062).depth(u, v) * 1.2
    bone = np.maximum(bone, np.maximum(rib, sternum))
    if state.level < 0.6:
        bow = 0.42 - 0.5 * (side - 0.62) + 1.2 * (side - 0.7) ** 2
        blade = np.minimum(0.03 - np.abs(v - bow), 0.19 - np.abs(side - 0.66))
        spine = np.minimum(0.025 - np.abs(side - 0.72 - 0.3 * (v - 0.5)), 0.1 - np.abs(v - 0.52))
        bone = np.maximum(bone, np.maximum(blade, spine))
    inside = step(bone, 0.012)
    cortex = np.exp(-(((bone - 0.012) / 0.016) ** 2))
    values = marrow + 650 * cortex
    density = density + (values - density) * inside * (body.depth > 0.004)
    return density + (30 - density) * step(canal, 0.012)


def _noise(state: CtState, canvas: Canvas, body: _Body) -> Field:
    """Noise is band limited by the kernel and strongest where the beam crosses most tissue."""
    grain = power_noise(canvas, -0.5, low=8.0, high=state.kernel)
    streaks = band_noise(canvas, 45.0, width=0.5, stretch=12.0)
    strength = 0.35 + 0.65 * np.clip(body.depth / 0.12, 0, 1)
    return np.float32(state.noise) * strength * (grain + 0.3 * streaks)


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "body_a", "body_b", "fat", "lung_a", "lung_b", "lung_density", "enhancement", "noise",
        "kernel", "sharpening", "emphysema", "table", "arms",
    ),
    hounsfield=True,
)  # fmt: skip
