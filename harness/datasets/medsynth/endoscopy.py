"""Colonoscopy and gastroscopy views; polyps, ulcers, bleeding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .branches import Roots, draw_branches, fork, grow
from .camera import Camera, CameraRanges, draw_camera, expose, mix, rgb
from .latent import Finding, Placement, chance, draw_finding, uniform
from .lettering import date_block
from .noise import band_noise, power_noise
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "polyp", "ulcer", "bleeding")

_CAMERAS = CameraRanges(
    blur=(0.3, 1.1), gain=(0.8, 1.35), gamma=(0.8, 1.2), cast=0.1, noise=(0.004, 0.014),
    sharpen=(0.1, 1.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EndoscopyState:
    """Latent state; lengths are fractions of the image side."""

    finding: Finding
    camera: Camera
    view: str
    lumen_x: float
    lumen_y: float
    lumen_radius: float
    folds: float
    fold_frequency: float
    relief: float
    warmth: float
    vascularity: float
    gloss: float
    falloff: float
    mucus: float
    dye: float
    frame: str
    box: str
    text: bool


def draw_state(rng: np.random.Generator) -> EndoscopyState:
    """Draw a stretch of gut, an endoscope and a finding."""
    placement = Placement(offset=(0.05, 0.22), y=(0.3, 0.68), radius=(0.07, 0.2))
    return EndoscopyState(
        finding=draw_finding(rng, CLASSES, placement),
        camera=draw_camera(rng, _CAMERAS),
        view="tube" if chance(rng, 0.55) else "wall",
        lumen_x=uniform(rng, (0.2, 0.8)),
        lumen_y=uniform(rng, (0.15, 0.85)),
        lumen_radius=uniform(rng, (0.04, 0.16)),
        folds=uniform(rng, (0.2, 1.0)),
        fold_frequency=uniform(rng, (4.0, 13.0)),
        relief=uniform(rng, (0.4, 1.3)),
        warmth=uniform(rng, (0.0, 1.0)),
        vascularity=uniform(rng, (0.0, 1.0)),
        gloss=uniform(rng, (0.1, 1.0)),
        falloff=uniform(rng, (0.3, 1.4)),
        mucus=uniform(rng, (0.3, 1.0)) if chance(rng, 0.25) else 0.0,
        dye=uniform(rng, (0.4, 1.0)) if chance(rng, 0.08) else 0.0,
        frame=("octagon", "octagon", "round", "full")[int(rng.integers(4))],
        box=("none", "none", "green", "black")[int(rng.integers(4))],
        text=chance(rng, 0.5),
    )


@dataclass(frozen=True, slots=True)
class _Surface:
    """Height of the mucosa, distance factor of the light, and the lesion's depth."""

    height: Field
    light: Field
    lesion: Field


def render(state: EndoscopyState, canvas: Canvas) -> Rendering:
    """Shade a height field lit from the camera, add colour, glints, frame and overlay."""
    surface = _surface(state, canvas)
    scene = _mucosa(state, canvas, surface)
    shade, glint = _lighting(state, canvas, surface)
    scene = scene * (shade * surface.light)[..., None]
    scene = mix(scene, (1.0, 0.98, 0.95), np.clip(glint * surface.light, 0, 1))
    image = expose(canvas, scene, state.camera)
    image, window = _overlay(state, canvas, image)
    lesion = step(surface.lesion, 0.004) if state.finding.present else canvas.zeros()
    return Rendering(pixels=image, lesion=lesion * window)


def _surface(state: EndoscopyState, canvas: Canvas) -> _Surface:
    soft = power_noise(canvas, 3.0, low=1.5, high=14.0)
    second = power_noise(canvas, 3.0, low=1.5, high=14.0)
    fine = power_noise(canvas, 1.8, low=8.0, high=60.0)
    dx = canvas.x - np.float32(state.lumen_x) + 0.03 * soft
    dy = canvas.y - np.float32(state.lumen_y) + 0.03 * second
    radius = np.sqrt(dx * dx + dy * dy) + 1e-3
    if state.view == "tube":
        theta = np.arctan2(dy, dx)
        depth = np.log(radius / np.float32(state.lumen_radius))
        # Haustral folds: rings that sharpen towards the viewer, three-lobed around the lumen.
        phase = (
            np.float32(state.fold_frequency) * depth + 0.5 * np.cos(3 * theta + second) + 0.4 * soft
        )
        ring = (0.5 + 0.5 * np.cos(phase)) ** 3
        height = (
            np.float32(0.035 * state.folds) * ring * np.clip(radius * 4, 0.1, 1.2) + 0.012 * soft
        )
        near = np.clip(depth / np.float32(1.9), 0, 1.15)
        light = 0.06 + 0.94 * near ** np.float32(state.falloff)
        light = light * (0.72 + 0.35 * ring)
    else:
        band = band_noise(
            canvas, state.fold_frequency * 0.22, width=0.4, stretch=2.5, angle=state.warmth * 3
        )
        height = 0.022 * soft + np.float32(0.035 * state.folds) * np.tanh(band)
        light = 1.05 - np.float32(state.falloff * 0.9) * radius * radius
        light = light * (1 + 0.1 * second)
    height = height + np.float32(0.0008 * state.relief) * fine
    if not state.finding.present:
        return _Surface(np.asarray(height, np.float32), _limit(light), canvas.zeros())
    return _raise_lesion(state, canvas, _Surface(height, light, fine))


def _limit(light: Field) -> Field:
    return np.clip(light, 0.02, 1.3).astype(np.float32)


def _raise_lesion(state: EndoscopyState, canvas: Canvas, bare: _Surface) -> _Surface:
    """Let a polyp bulge and an ulcer sink; `bare.lesion` roughens the outline."""
    finding, height, light = state.finding, bare.height, bare.light
    turn = state.warmth * 3
    outline = Ellipse(finding.x, finding.y, finding.radius, finding.radius * 0.8, turn)
    rough = {"polyp": 0.06, "ulcer": 0.13, "bleeding": 0.2}[finding.label]
    lesion = blob_depth(
        canvas, outline, roughness=rough, lobes=3 if finding.label == "polyp" else 7
    )
    lesion = lesion + np.float32(0.002) * bare.lesion
    if finding.label == "polyp":
        inside = np.clip(lesion / lesion.max(), 0, 1)
        dome = inside * (0.8 + inside * (1.4 - 1.2 * inside))
        dome = np.float32(0.5 * finding.radius) * dome
        height = height * (1 - 0.7 * step(lesion, 0.01)) + dome
        light = light + (np.maximum(light, 0.6) - light) * step(lesion, 0.015)
    elif finding.label == "ulcer":
        height = height - 0.012 * step(lesion, 0.012)
    return _Surface(np.asarray(height, np.float32), _limit(light), lesion)


def _mucosa(state: EndoscopyState, canvas: Canvas, surface: _Surface) -> Field:
    pink = rgb(0.86, 0.52, 0.50)
    orange = rgb(0.92, 0.50, 0.28)
    base = pink + (orange - pink) * np.float32(state.warmth)
    blotch = power_noise(canvas, 1.5, low=1.5, high=60.0)
    pits = power_noise(canvas, 0.6, low=14.0, high=90.0)
    scene = base * (1 + 0.03 * pits + 0.03 * blotch)[..., None]
    scene[..., 1:] *= (1 - 0.07 * blotch - 0.03 * pits)[..., None]
    if state.vascularity > 0.25:
        vessels = np.float32(0.6 * state.vascularity) * _vessels(canvas)
        scene = scene * (1 - vessels[..., None] * rgb(0.35, 0.75, 0.65))
    scene = _lesion_colour(state, canvas, scene, surface)
    if state.mucus:
        share = step(power_noise(canvas, 1.6, low=2.0, high=60.0) - 1.5 + 0.5 * state.mucus, 0.2)
        scene = mix(scene, (0.85, 0.66, 0.15), 0.6 * share)
    if state.dye:
        stain = np.clip(0.75 + 0.25 * blotch, 0, 1) * np.float32(state.dye)
        scene = mix(scene, scene * rgb(0.35, 0.85, 1.25), stain)
    return np.clip(scene, 0.0, 1.2)


def _lesion_colour(state: EndoscopyState, canvas: Canvas, scene: Field, surface: _Surface) -> Field:
    finding = state.finding
    if not finding.present:
        return scene
    inside = step(surface.lesion, 0.01)
    mottle = power_noise(canvas, 1.0, low=6.0, high=80.0)
    if finding.label == "polyp":
        tone = rgb(1.02, 0.92, 0.9) if state.warmth > 0.5 else rgb(1.04, 0.88, 0.84)
        spots = step(mottle - 0.9, 0.3) * inside * 0.25
        return mix(mix(scene, scene * tone, inside), (0.7, 0.2, 0.18), spots)
    if finding.label == "ulcer":
        rim = np.exp(-((surface.lesion / 0.025) ** 2))
        scene = mix(scene, (0.72, 0.22, 0.2), 0.7 * rim)
        slough = rgb(0.92, 0.85, 0.62) * (1 + 0.08 * mottle[..., None])
        return mix(scene, slough, step(surface.lesion - 0.012, 0.012) * 0.85)
    pool = np.clip(inside * (0.85 + 0.2 * canvas.blur(mottle, 2.0)), 0, 1)
    return mix(scene, (0.5, 0.05, 0.05), pool * np.float32(0.6 + 0.35 * finding.severity))


def _vessels(canvas: Canvas) -> Field:
    rng = canvas.rng
    roots = Roots(
        x=rng.uniform(0, 1, 9),
        y=rng.uniform(0, 1, 9),
        heading=rng.uniform(0, 2 * np.pi, 9),
        length=rng.uniform(0.3, 0.6, 9),
        radius=rng.uniform(0.002, 0.0042, 9),
    )
    main = grow(rng, roots, wander=1.1, taper=0.4)
    second = grow(rng, fork(rng, main, children=4, length=(0.08, 0.22)), wander=1.0, taper=0.4)
    third = grow(rng, fork(rng, second, children=2, length=(0.03, 0.1)), wander=1.0, taper=0.5)
    layers = [draw_branches(canvas, main, 1.0), draw_branches(canvas, second, 0.8)]
    layers.append(draw_branches(canvas, third, 0.6))
    return canvas.blur(np.maximum.reduce(layers), 0.5)


def _lighting(state: EndoscopyState, canvas: Canvas, surface: _Surface) -> tuple[Field, Field]:
    """Diffuse shading and specular glints of the height field under a light at the camera."""
    slope_y, slope_x = np.gradient(surface.height, np.float32(1 / canvas.size))
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    facing = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    lean = slope_x * (dx + np.float32(0.25)) + slope_y * (dy - np.float32(0.3))
    shade = np.clip(facing * (1 - 0.9 * np.tanh(lean)), 0.15, 1.6)
    # Glints are small and round, and lie in groups where the wet surface faces the lamp.
    off_x = canvas.blur(slope_x, 2.0) + 1.6 * dx + np.float32(0.25)
    off_y = canvas.blur(slope_y, 2.0) + 1.6 * dy - np.float32(0.3)
    toward = np.exp(-(off_x * off_x + off_y * off_y) / np.float32(0.2))
    wet = band_noise(canvas, 12.0, width=0.6, stretch=1.5, angle=state.warmth * 3)
    glint = step(wet - np.float32(3.3 - 0.8 * state.gloss) + 1.2 * toward, 0.25)
    return shade, glint * np.float32(0.8 + 0.3 * state.gloss)


def _scope_curve(canvas: Canvas) -> Field:
    """The drawing of the endoscope's shape inside the position box."""
    rng = canvas.rng
    start = np.array([0.1])
    roots = Roots(
        x=start, y=start + 0.85, heading=rng.uniform(4.2, 5.2, 1), length=start + 0.25,
        radius=start * 0.03,
    )  # fmt: skip
    return draw_branches(canvas, grow(rng, roots, wander=0.4, bend=rng.normal(0, 4, 1), taper=1.0))


def _overlay(state: EndoscopyState, canvas: Canvas, image: Field) -> tuple[Field, Field]:
    """Black frame, text column and the position box; the second field is what stays visible."""
    dx, dy = np.abs(canvas.x - 0.5), np.abs(canvas.y - 0.5)
    window = canvas.zeros() + 1
    if state.frame == "octagon":
        window = step(np.minimum(0.49 - np.maximum(dx, dy), 0.80 - dx - dy), 0.003)
    elif state.frame == "round":
        window = step(0.54 - np.sqrt(dx * dx + dy * dy), 0.003)
        window = window * step(0.495 - np.maximum(dx, dy), 0.003)
    image = image * window[..., None]
    if state.text:
        letters = date_block(canvas, 0.01, 0.14, lines=5, height=7 / 256)
        image = np.maximum(image, 0.85 * letters[..., None])
    if state.box != "none":
        box = step(np.minimum(0.28 - canvas.x, canvas.y - 0.69), 0.003)
        colour = (0.08, 0.62, 0.5) if state.box == "green" else (0.0, 0.0, 0.0)
        image = mix(image, colour, box)
        if state.box == "green":
            image = mix(image, (0.05, 0.2, 0.2), box * _scope_curve(canvas))
        window = window * (1 - box)
    return image, window


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "camera", "relief", "warmth", "vascularity", "gloss", "falloff", "frame", "box", "text",
    ),
)  # fmt: skip
