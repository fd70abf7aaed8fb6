"""Dermoscopic skin images; naevi, melanomas, keratoses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .branches import Roots, draw_branches, grow
from .camera import Camera, CameraRanges, draw_camera, expose, mix, rgb
from .latent import Finding, Placement, chance, draw_finding, uniform
from .lettering import write
from .noise import band_noise, power_noise, ridges
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, stamp_discs, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "nevus", "melanoma", "keratosis")

_CAMERAS = CameraRanges(
    blur=(0.25, 0.9), gain=(0.72, 1.12), gamma=(0.85, 1.3), cast=0.07, noise=(0.002, 0.009)
)
_STICKERS = (
    (0.2, 0.72, 0.72),
    (0.85, 0.8, 0.05),
    (0.05, 0.4, 0.75),
    (0.95, 0.5, 0.1),
    (0.1, 0.6, 0.4),
)


@dataclass(frozen=True, slots=True)
class DermoscopyState:
    """Latent state; lengths are fractions of the image side, pigments optical densities."""

    finding: Finding
    camera: Camera
    melanin: float
    redness: float
    blotches: float
    grain: float
    skin_lines: float
    freckles: int
    hairs: int
    hair_darkness: float
    aspect: float
    angle: float
    pigment: float
    network: float
    network_scale: float
    vignette: float
    ruler: bool
    ruler_angle: float
    sticker: int
    gloss: float
    light_angle: float
    light_fall: float


def draw_state(rng: np.random.Generator) -> DermoscopyState:
    """Draw skin, optics and a finding."""
    placement = Placement(offset=(0.0, 0.3), y=(0.2, 0.8), radius=(0.055, 0.19))
    return DermoscopyState(
        finding=draw_finding(rng, CLASSES, placement),
        camera=draw_camera(rng, _CAMERAS),
        melanin=uniform(rng, (0.0, 1.0)) ** 1.5,
        redness=uniform(rng, (0.0, 1.0)),
        blotches=uniform(rng, (0.15, 1.5)),
        grain=uniform(rng, (0.002, 0.016)),
        skin_lines=uniform(rng, (0.1, 1.0)),
        freckles=int(rng.integers(1, 12)) if chance(rng, 0.5) else 0,
        hairs=int(rng.integers(3, 34)) if chance(rng, 0.6) else 0,
        hair_darkness=uniform(rng, (0.25, 0.9)),
        aspect=uniform(rng, (0.65, 1.0)),
        angle=uniform(rng, (0.0, 3.14)),
        pigment=uniform(rng, (0.6, 1.5)),
        network=uniform(rng, (0.1, 1.0)),
        network_scale=uniform(rng, (18.0, 34.0)),
        vignette=uniform(rng, (0.0, 0.5)) if chance(rng, 0.6) else 0.0,
        ruler=chance(rng, 0.4),
        ruler_angle=float(rng.normal(0.0, 0.15)) + (1.57 if chance(rng, 0.3) else 0.0),
        sticker=int(rng.integers(1, 6)) if chance(rng, 0.25) else 0,
        gloss=uniform(rng, (0.0, 1.0)) ** 2,
        light_angle=uniform(rng, (0.0, 6.28)),
        light_fall=uniform(rng, (0.05, 0.5)),
    )


def render(state: DermoscopyState, canvas: Canvas) -> Rendering:
    """Absorb light by melanin and blood, then lay hairs, ruler and stickers on top."""
    melanin, blood = _skin(state, canvas)
    pigment, lesion, scene_top = _lesion(state, canvas)
    # Absorption of red, green and blue by the two pigments.
    brown = rgb(0.36, 0.78, 1.2)
    red = rgb(0.08, 0.62, 0.5)
    density = (melanin + pigment)[..., None] * brown + blood[..., None] * red
    scene = rgb(0.98, 0.93, 0.92) * np.exp(-np.maximum(density, 0))
    if scene_top is not None:
        scene = mix(scene, (0.42, 0.46, 0.55), scene_top)
    scene = _shade(state, canvas, scene)
    scene = mix(scene, (0.16, 0.1, 0.08), np.float32(state.hair_darkness) * _hairs(state, canvas))
    scene = _extras(state, canvas, scene)
    return Rendering(pixels=expose(canvas, scene, state.camera), lesion=lesion)


def _skin(state: DermoscopyState, canvas: Canvas) -> tuple[Field, Field]:
    cloud = power_noise(canvas, 1.6)
    pores = power_noise(canvas, 0.7, low=10.0, high=100.0)
    lines = ridges(band_noise(canvas, 20.0, width=0.6, stretch=1.6, angle=state.angle), 0.2)
    mottle = power_noise(canvas, 1.1, low=4.0, high=70.0)
    spread = np.float32(state.blotches)
    melanin = 0.06 + 0.4 * state.melanin + spread * (0.02 * cloud + 0.01 * mottle)
    melanin = melanin + _freckles(state, canvas) * (1 + 0.3 * mottle)
    melanin = (
        melanin + np.float32(state.grain) * pores + np.float32(0.05 * state.skin_lines) * lines
    )
    flush = power_noise(canvas, 1.3, low=2.0, high=50.0)
    blood = (
        0.05
        + 0.25 * state.redness
        + spread * (0.045 * flush + 0.012 * mottle)
        + np.float32(0.7 * state.grain) * pores
    )
    return melanin, blood


def _freckles(state: DermoscopyState, canvas: Canvas) -> Field:
    """Pigment of sun freckles: faint, small, without structure; on healthy skin too."""
    if not state.freckles:
        return canvas.zeros()
    rng, count = canvas.rng, state.freckles
    x, y = rng.uniform(0, 1, (2, count))
    radius = 0.007 + 0.03 * rng.uniform(0, 1, count) ** 2
    spots = stamp_discs(canvas, x, y, radius, rng.uniform(0.1, 0.4, count))
    return canvas.blur(spots, 1.8)


def _lesion(state: DermoscopyState, canvas: Canvas) -> tuple[Field, Field, Field | None]:
    """Added pigment, coverage of the lesion, and the share of blue-white veil if any."""
    finding = state.finding
    if not finding.present:
        return canvas.zeros(), canvas.zeros(), None
    wild = {"nevus": 0.06, "melanoma": 0.17, "keratosis": 0.09}[finding.label]
    outline = Ellipse(
        finding.x, finding.y, finding.radius, finding.radius * state.aspect, state.angle
    )
    depth = blob_depth(canvas, outline, roughness=wild, lobes=12)
    frill = power_noise(canvas, 1.4, low=6.0, high=50.0)
    depth = depth + np.float32(0.05 * finding.radius) * frill
    soft = {"nevus": 0.2, "melanoma": 0.14, "keratosis": 0.08}[finding.label] * finding.radius
    cover = step(depth, soft)
    cells = band_noise(canvas, state.network_scale, width=0.3)
    net = ridges(cells, 0.35) - 0.4
    globules = step(band_noise(canvas, 26.0, width=0.35) - 0.9, 0.3)
    cloud = power_noise(canvas, 1.5, low=3.0, high=60.0)
    inner = np.clip(depth / np.float32(0.6 * finding.radius), 0, 1)
    base = np.float32(state.pigment * (0.45 + 0.45 * finding.severity))
    veil = None
    if finding.label == "nevus":
        body = base * (0.5 + 0.4 * inner + 0.14 * cloud + 0.6 * state.network * net)
    elif finding.label == "melanoma":
        body = base * (0.72 + 0.45 * cloud + 0.5 * state.network * net + 0.4 * globules)
        veil = step(power_noise(canvas, 2.4, low=2.0, high=20.0) - 0.6, 1.4) * cover * 0.5
    else:
        crust = power_noise(canvas, 0.9, low=5.0, high=80.0)
        plugs = step(band_noise(canvas, 18.0, width=0.4) - 1.2, 0.2)
        body = base * (0.6 + 0.2 * crust + 0.7 * plugs)
        veil = np.clip(0.25 * crust, 0, 0.5) * cover
    return np.maximum(body, 0.15) * cover, step(depth, 0.003), veil


def _shade(state: DermoscopyState, canvas: Canvas, scene: Field) -> Field:
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    tilt = dx * math.cos(state.light_angle) + dy * math.sin(state.light_angle)
    light = 1 + np.float32(state.light_fall) * (tilt - 0.8 * (dx * dx + dy * dy))
    if state.vignette:
        corner = np.sqrt(dx * dx + dy * dy)
        light = light * (1 - step(corner - np.float32(0.82 - 0.5 * state.vignette), 0.08))
    scene = scene * light[..., None].astype(np.float32)
    glints = step(band_noise(canvas, 40.0, width=0.6) - 3.1 + 0.9 * state.gloss, 0.3)
    return mix(scene, (0.97, 0.97, 1.0), 0.7 * glints * np.float32(state.gloss))


def _hairs(state: DermoscopyState, canvas: Canvas) -> Field:
    if not state.hairs:
        return canvas.zeros()
    rng = canvas.rng
    count = state.hairs
    lean = rng.uniform(0, 2 * np.pi)
    roots = Roots(
        x=rng.uniform(-0.1, 1.1, count),
        y=rng.uniform(-0.1, 1.1, count),
        heading=lean + rng.normal(0, 0.7, count),
        length=rng.uniform(0.15, 0.75, count),
        radius=rng.uniform(0.0012, 0.0028, count),
    )
    hairs = grow(rng, roots, wander=0.45, bend=rng.normal(0, 0.6, count), taper=0.5, steps=60)
    return draw_branches(canvas, hairs, rng.uniform(0.4, 1.0, count))


def _extras(state: DermoscopyState, canvas: Canvas, scene: Field) -> Field:
    rng = canvas.rng
    if state.sticker:
        angle = rng.uniform(0, 2 * np.pi)
        radius = rng.uniform(0.2, 0.4)
        reach = 0.55 + 0.7 * radius
        disc = Ellipse(0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle), radius, radius)
        paper = rgb(*_STICKERS[state.sticker - 1]) * (
            1 + 0.05 * power_noise(canvas, 0.4, low=10.0)[..., None]
        )
        ring = np.exp(-((disc.depth(canvas.x, canvas.y) / 0.008) ** 2))
        scene = mix(scene, paper, disc.cover(canvas.x, canvas.y))
        scene = scene * (1 - 0.25 * ring[..., None])
    if state.ruler:
        scene = mix(scene, (0.2, 0.16, 0.18), 0.8 * _ruler(state, canvas))
    return scene


def _ruler(state: DermoscopyState, canvas: Canvas) -> Field:
    """A line with ticks at each millimetre, longer at each fifth, and the unit at its end."""
    marks = 11
    ticks = np.arange(marks)
    direction = np.array([np.cos(state.ruler_angle), np.sin(state.ruler_angle)])
    start = np.array([0.16, 0.88]) if abs(state.ruler_angle) < 0.8 else np.array([0.92, 0.15])
    foot = start + ticks[:, None] * 0.063 * direction
    up = np.array([direction[1], -direction[0]])
    tall = np.where(ticks % 5 == 0, 0.03, 0.018)
    share = np.linspace(0, 1, 12)
    points = [foot[:, None] + share[None, :, None] * tall[:, None, None] * up]
    base = start + np.linspace(0, (marks - 1) * 0.063, 260)[:, None] * direction
    flat = np.concatenate([points[0].reshape(-1, 2), base])
    line = stamp_discs(canvas, flat[:, 0], flat[:, 1], np.full(len(flat), 0.0016), 1.0)
    return np.maximum(line, write(canvas, "mm", start[0], start[1] + 0.015, height=8 / 256))


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "camera", "melanin", "redness", "blotches", "grain", "skin_lines", "hair_darkness",
        "vignette",
    ),
    lesion=("aspect", "angle", "pigment", "network", "network_scale"),
)  # fmt: skip
