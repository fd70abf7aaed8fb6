"""Colour fundus photographs with vessels; haemorrhages, exudates, drusen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .branches import Branches, Roots, draw_branches, fork, grow
from .camera import Camera, CameraRanges, draw_camera, expose, mix, rgb
from .latent import Finding, Placement, draw_finding, uniform
from .noise import band_noise, power_noise, ridges
from .sample import Generator, Rendering
from .shapes import Ellipse, stamp_discs, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "haemorrhage", "exudate", "drusen")

_CAMERAS = CameraRanges(
    blur=(0.4, 1.1), gain=(0.85, 1.2), gamma=(0.85, 1.25), cast=0.08, noise=(0.002, 0.009)
)


@dataclass(frozen=True, slots=True)
class FundusState:
    """Latent state; lengths are fractions of the image side."""

    finding: Finding
    camera: Camera
    eye: str
    field_radius: float
    disc_x: float
    disc_y: float
    disc_radius: float
    cup: float
    pigment: float
    tessellation: float
    fovea: float
    cloud: float
    granularity: float
    vessel_radius: float
    tortuosity: float
    illumination_angle: float
    illumination_fall: float
    rim: float
    notch: bool


def draw_state(rng: np.random.Generator) -> FundusState:
    """Draw an eye, a camera and a finding."""
    placement = Placement(offset=(0.0, 0.2), y=(0.3, 0.7), radius=(0.08, 0.22))
    right = bool(rng.uniform() < 0.5)
    distance = uniform(rng, (0.18, 0.4))
    return FundusState(
        finding=draw_finding(rng, CLASSES, placement),
        camera=draw_camera(rng, _CAMERAS),
        eye="right" if right else "left",
        field_radius=uniform(rng, (0.44, 0.49)),
        disc_x=0.5 + (distance if right else -distance),
        disc_y=uniform(rng, (0.42, 0.56)),
        disc_radius=uniform(rng, (0.055, 0.085)),
        cup=uniform(rng, (0.3, 0.65)),
        pigment=uniform(rng, (0.0, 1.0)),
        tessellation=uniform(rng, (0.0, 1.0)) ** 2,
        fovea=uniform(rng, (0.08, 0.32)),
        cloud=uniform(rng, (0.01, 0.05)),
        granularity=uniform(rng, (0.004, 0.018)),
        vessel_radius=uniform(rng, (0.0048, 0.0078)),
        tortuosity=uniform(rng, (0.5, 1.3)),
        illumination_angle=uniform(rng, (0.0, 6.28)),
        illumination_fall=uniform(rng, (0.05, 0.5)),
        rim=uniform(rng, (0.0, 0.6)),
        notch=bool(rng.uniform() < 0.6),
    )


def render(state: FundusState, canvas: Canvas) -> Rendering:
    """Draw the retina, the lesions and the camera's round aperture."""
    scene = _background(state, canvas)
    scene = _disc(state, canvas, scene)
    vessels = _vessels(state, canvas)
    blood = rgb(0.58, 0.28, 0.40)
    scene = scene * (1 - vessels[..., None] * (1 - blood))
    scene, lesion = _lesions(state, canvas, scene)
    image = expose(canvas, scene, state.camera)
    aperture = _aperture(state, canvas)
    return Rendering(pixels=image * aperture[..., None], lesion=lesion * (aperture > 0.5))


def _macula(state: FundusState) -> tuple[float, float]:
    toward = -1.0 if state.disc_x > 0.5 else 1.0
    return state.disc_x + toward * 0.36, state.disc_y + 0.03


def _background(state: FundusState, canvas: Canvas) -> Field:
    pale = rgb(0.78, 0.55, 0.36)
    orange = rgb(0.97, 0.42, 0.17)
    brown = rgb(0.55, 0.28, 0.13)
    tone = state.pigment * 2
    base = (
        pale + (orange - pale) * min(tone, 1.0)
        if tone < 1
        else orange + (brown - orange) * (tone - 1)
    )
    cloud = power_noise(canvas, 1.9)
    fine = power_noise(canvas, 0.9, low=6.0, high=90.0)
    light = 1 + np.float32(state.cloud) * cloud + np.float32(state.granularity) * fine
    choroid = band_noise(canvas, 13.0, width=0.45, stretch=2.5, angle=state.illumination_angle)
    light += np.float32(0.16 * state.tessellation) * (ridges(choroid, 0.45) - 0.5)
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    across = dx * math.cos(state.illumination_angle) + dy * math.sin(state.illumination_angle)
    light *= 1 - np.float32(state.illumination_fall) * (
        across + 0.5 * (dx * dx + dy * dy) * 4 * 0.6
    )
    mx, my = _macula(state)
    distance = (canvas.x - mx) ** 2 + (canvas.y - my) ** 2
    light *= (
        1
        - np.float32(state.fovea) * np.exp(-distance / (2 * 0.036**2))
        - 0.15 * np.exp(-distance / (2 * 0.09**2))
    )
    scene = light[..., None] * base
    # Pigment absorbs green and blue more than red, so clouds also change the hue.
    scene[..., 1] *= 1 + np.float32(state.cloud) * cloud
    edge = np.sqrt(dx * dx + dy * dy) / np.float32(state.field_radius)
    glow = np.float32(state.rim) * np.clip(edge - 0.75, 0, 1) * 2 * np.clip(0.4 - across, 0, 1)
    return mix(scene, (0.75, 0.65, 0.45), np.clip(glow, 0, 0.7))


def _disc(state: FundusState, canvas: Canvas, scene: Field) -> Field:
    disc = Ellipse(state.disc_x, state.disc_y, state.disc_radius * 0.92, state.disc_radius * 1.06)
    radius = disc.radius(canvas.x, canvas.y)
    mottle = 1 + 0.06 * power_noise(canvas, 1.0, low=8.0, high=80.0)
    halo = np.exp(-((np.maximum(radius - 1, 0) * 1.6) ** 2)) * 0.18
    scene = mix(scene, (1.0, 0.75, 0.45), halo)
    colour = rgb(1.0, 0.80, 0.50) * mottle[..., None]
    scene = mix(scene, colour, 0.85 * step(1 - radius, 0.16))
    cup = step(state.cup - radius, 0.2)
    return mix(scene, (1.0, 0.95, 0.75), 0.75 * cup)


def _vessels(state: FundusState, canvas: Canvas) -> Field:
    """Coverage of arteries and veins: four arcades in pairs, nasal vessels, two orders of forks."""
    rng = canvas.rng
    toward = np.pi if state.disc_x > 0.5 else 0.0
    turn = 1.0 if state.disc_x > 0.5 else -1.0
    # Headings relative to the macula: arcades leave almost vertically and bend towards it.
    start = np.array([1.35, 1.2, -1.35, -1.2, 2.4, -2.4, 2.0, -2.0, 0.5, -0.5])
    bends = np.array([-1.5, -1.3, 1.5, 1.3, -0.2, 0.2, 0.1, -0.1, 0.15, -0.15])
    length = np.array([0.85, 0.75, 0.85, 0.75, 0.35, 0.35, 0.5, 0.5, 0.26, 0.24])
    thick = np.array([1.0, 0.72, 1.0, 0.72, 0.55, 0.6, 0.6, 0.55, 0.35, 0.35])
    start = start + rng.normal(0, 0.12, start.size)
    heading = toward + turn * start
    roots = Roots(
        x=state.disc_x + rng.normal(0, 0.008, start.size),
        y=state.disc_y + rng.normal(0, 0.012, start.size),
        heading=heading,
        length=length * rng.uniform(0.85, 1.15, start.size),
        radius=state.vessel_radius * thick,
    )
    wander = 0.55 * state.tortuosity
    main = grow(rng, roots, wander=wander, bend=turn * bends, taper=0.45, steps=60)
    second = grow(
        rng, fork(rng, main, children=4, spread=0.65, length=(0.12, 0.32)), wander=wander, taper=0.4
    )
    third = grow(
        rng,
        fork(rng, second, children=2, spread=0.6, length=(0.05, 0.14)),
        wander=wander,
        taper=0.5,
    )
    trees = (main, second, third)
    layers = [draw_branches(canvas, tree, _vessel_weight(rng, tree)) for tree in trees]
    vessels = canvas.blur(np.maximum.reduce(layers), 0.35)
    mx, my = _macula(state)
    fovea = np.exp(-((canvas.x - mx) ** 2 + (canvas.y - my) ** 2) / (2 * 0.05**2))
    return vessels * (1 - 0.9 * fovea)


def _vessel_weight(rng: np.random.Generator, tree: Branches) -> np.ndarray:
    return rng.uniform(0.28, 0.68, tree.x.shape[0])


def _lesions(state: FundusState, canvas: Canvas, scene: Field) -> tuple[Field, Field]:
    finding = state.finding
    if not finding.present:
        return scene, canvas.zeros()
    rng = canvas.rng
    count = int(10 + 50 * finding.severity)
    x = finding.x + rng.normal(0, 0.6 * finding.radius, count)
    y = finding.y + rng.normal(0, 0.6 * finding.radius, count)
    sizes = {"haemorrhage": 0.0115, "exudate": 0.008, "drusen": 0.0105}
    radius = sizes[finding.label] * rng.lognormal(0.0, 0.45, count)
    x[0], y[0] = finding.x, finding.y
    spots = canvas.blur(stamp_discs(canvas, x, y, radius, rng.uniform(0.75, 1.0, count)), 1.3)
    wobble = band_noise(canvas, 24.0, width=0.5)
    cover = step(spots - 0.42 + 0.07 * wobble * (spots > 0.03), 0.16)
    # Faint where mild; depth in the retina makes spots of one eye differ.
    strength = np.float32(0.7 + 0.25 * finding.severity) * np.clip(
        0.9 + 0.15 * canvas.blur(wobble, 3.0), 0.4, 1.0
    )
    if finding.label == "haemorrhage":
        soft = canvas.blur(cover, 0.6)
        return mix(scene, scene * rgb(0.52, 0.24, 0.3), strength * soft), cover
    if finding.label == "exudate":
        return mix(scene, (1.0, 0.9, 0.5), strength * cover), cover
    soft = canvas.blur(cover, 1.3)
    return mix(scene, (1.0, 0.78, 0.42), 0.75 * strength * soft), cover


def _aperture(state: FundusState, canvas: Canvas) -> Field:
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    aperture = step(state.field_radius - np.sqrt(dx * dx + dy * dy), 0.004)
    if state.notch:
        reach = state.field_radius * 0.73
        tab = Ellipse(0.5 + reach, 0.5 - reach, 0.028, 0.028).cover(canvas.x, canvas.y)
        aperture = np.maximum(aperture, tab)
    return aperture


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "camera", "eye", "field_radius", "disc_x", "disc_y", "disc_radius", "cup", "pigment",
        "tessellation", "fovea", "vessel_radius", "tortuosity", "notch",
    ),
)  # fmt: skip
