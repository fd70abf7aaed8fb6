"""B-mode ultrasound: layered tissue, speckle, attenuation, shadows; cysts and masses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .latent import Finding, Placement, chance, draw_finding, pick, uniform
from .lettering import write
from .noise import band_noise, power_noise, ridges, speckle
from .sample import Generator, Rendering
from .shapes import Ellipse, blob_depth, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "cyst", "benign_mass", "malignant_mass")
_LABELS = ("LT UOQ", "RT LOQ", "RT UIQ", "LT AXILLA", "RT 10:00")


@dataclass(frozen=True, slots=True)
class UltrasoundState:
    """Latent state; depths are fractions of the image side, echo levels in nepers."""

    finding: Finding
    probe: str
    fat_depth: float
    gland_depth: float
    muscle_depth: float
    tilt: float
    waviness: float
    gland_echo: float
    fibre: float
    fascia: float
    aspect: float
    attenuation: float
    dynamic_range: float
    gain: float
    axial_blur: float
    lateral_blur: float
    looks: float
    smoothing: float
    shadows: float
    calipers: bool
    text: str


def draw_state(rng: np.random.Generator) -> UltrasoundState:
    """Draw tissue layers, probe settings and a finding."""
    placement = Placement(offset=(0.02, 0.32), y=(0.2, 0.58), radius=(0.045, 0.13))
    fat = uniform(rng, (0.08, 0.28))
    gland = fat + uniform(rng, (0.15, 0.45))
    return UltrasoundState(
        finding=draw_finding(rng, CLASSES, placement),
        probe="convex" if chance(rng, 0.25) else "linear",
        fat_depth=fat,
        gland_depth=gland,
        muscle_depth=gland + uniform(rng, (0.12, 0.3)),
        tilt=uniform(rng, (-0.15, 0.15)),
        waviness=uniform(rng, (0.01, 0.05)),
        gland_echo=uniform(rng, (-0.4, 0.75)),
        fibre=uniform(rng, (0.4, 1.0)),
        fascia=uniform(rng, (9.0, 28.0)),
        aspect=uniform(rng, (1.1, 1.9)),
        attenuation=uniform(rng, (0.2, 2.2)),
        dynamic_range=uniform(rng, (3.4, 5.2)),
        gain=uniform(rng, (-0.4, 0.4)),
        axial_blur=uniform(rng, (0.45, 0.8)),
        lateral_blur=uniform(rng, (0.7, 1.5)),
        looks=uniform(rng, (5.0, 18.0)),
        smoothing=uniform(rng, (0.5, 1.2)),
        shadows=uniform(rng, (0.0, 1.0)),
        calipers=chance(rng, 0.3),
        text=pick(rng, _LABELS) if chance(rng, 0.35) else "",
    )


def render(state: UltrasoundState, canvas: Canvas) -> Rendering:
    """Draw echogenicity, speckle and log compression; convex probes are scan converted."""
    echo = _tissue(state, canvas)
    echo, depth = _lesion(state, canvas, echo)
    echo = echo - np.float32(state.attenuation) * canvas.y * canvas.y
    echo -= np.float32(1.2 * state.shadows) * _shadow(canvas)
    envelope = speckle(canvas, state.axial_blur, state.lateral_blur)
    # Compounding averages looks, which narrows the speckle's distribution as a root does.
    level = echo + np.log(envelope + np.float32(0.05)) * np.float32(1 / np.sqrt(state.looks))
    grey = level * np.float32(1 / state.dynamic_range) + np.float32(0.64 + 0.4 * state.gain)
    grey = np.clip(grey, 0.0, 1.0) ** np.float32(1.2)
    lesion = step(depth, 0.004) if state.finding.present else canvas.zeros()
    if state.probe == "convex":
        grey, lesion = _scan_convert(canvas, grey), _scan_convert(canvas, lesion)
    grey = np.maximum(canvas.blur(grey, state.smoothing), 0.9 * _overlay(state, canvas))
    return Rendering(pixels=np.clip(grey, 0, 1), lesion=lesion)


def _tissue(state: UltrasoundState, canvas: Canvas) -> Field:
    """Log echogenicity of skin, fat, gland, muscle and chest wall."""
    lateral = canvas.x - 0.5
    wave = power_noise(canvas, 2.2, low=1.5, high=30.0, stretch=4.0)
    depth = canvas.y + np.float32(state.tilt) * lateral + np.float32(state.waviness) * wave
    lobule = power_noise(canvas, 1.3, low=3.0, high=60.0, stretch=2.5, angle=state.tilt)
    lean = -state.tilt
    strands = ridges(band_noise(canvas, 4.0, width=0.55, stretch=5.0, angle=lean), 0.2)
    thin = ridges(band_noise(canvas, 8.0, width=0.5, stretch=7.0, angle=lean), 0.3)
    ducts = power_noise(canvas, 1.0, low=7.0, high=60.0, stretch=3.5)
    strands = strands * np.clip(0.75 + 0.5 * lobule, 0.15, 1.5)
    fibre = np.float32(state.fibre)
    second = power_noise(canvas, 2.0, low=2.0, high=25.0, stretch=3.0, angle=state.tilt)
    sheets = ridges(np.sin(np.float32(state.fascia) * depth + 1.6 * second), 0.1)
    strands = np.maximum(strands, sheets * np.clip(0.5 + 0.5 * second, 0, 1.3))
    fat = -0.75 + 0.16 * lobule + 0.1 * ducts + 1.5 * fibre * strands
    gland = (
        np.float32(state.gland_echo) - 0.2 + 0.42 * ducts + 0.25 * lobule + 0.7 * fibre * strands
    )
    muscle = -1.1 + 1.15 * fibre * thin + 0.25 * lobule + 0.6 * strands + 0.2 * ducts
    wall = -1.3 + 0.3 * lobule + 1.1 * fibre * strands + 0.5 * thin
    echo = fat + (gland - fat) * step(depth - np.float32(state.fat_depth), 0.02)
    echo += (muscle - echo) * step(depth - np.float32(state.gland_depth), 0.025)
    echo += (wall - echo) * step(depth - np.float32(state.muscle_depth), 0.02)
    for level, strength in (
        (state.fat_depth, 0.9),
        (state.gland_depth, 0.8),
        (state.muscle_depth, 1.2),
    ):
        line = np.exp(-(((depth - np.float32(level)) / 0.008) ** 2))
        echo += np.float32(strength) * line * (0.6 + 0.5 * np.clip(lobule, -1, 1))
    skin = np.exp(-(((canvas.y - 0.03 + 0.002 * wave) / 0.016) ** 2))
    return echo + 1.4 * skin


def _lesion(state: UltrasoundState, canvas: Canvas, echo: Field) -> tuple[Field, Field]:
    """Place the lesion; return the echogenicity and the depth inside the lesion."""
    finding = state.finding
    if not finding.present:
        return echo, canvas.zeros()
    tall = 0.85 if finding.label == "malignant_mass" else 1 / state.aspect
    outline = Ellipse(finding.x, finding.y, finding.radius, finding.radius * tall, state.tilt)
    rough = {"cyst": 0.04, "benign_mass": 0.07, "malignant_mass": 0.16}[finding.label]
    lobes = 14 if finding.label == "malignant_mass" else 6
    depth = blob_depth(canvas, outline, roughness=rough, lobes=lobes)
    inside = step(depth, 0.006 if finding.label != "malignant_mass" else 0.014)
    level = {"cyst": -3.2, "benign_mass": -1.4, "malignant_mass": -2.0}[finding.label]
    inner = level + 0.3 * power_noise(canvas, 1.2, low=4.0, high=60.0)
    below = step(canvas.y - np.float32(finding.y), 0.06)
    beam = np.exp(-(((canvas.x - finding.x) / (0.75 * finding.radius)) ** 4)) * below
    behind = {"cyst": 0.9, "benign_mass": 0.2, "malignant_mass": -1.3}[finding.label]
    echo = echo + np.float32(behind * (0.5 + 0.5 * finding.severity)) * beam
    if finding.label != "malignant_mass":
        rim = (
            np.exp(-((depth / 0.008) ** 2))
            * np.abs(canvas.y - finding.y)
            / np.float32(finding.radius)
        )
        echo = echo + 1.2 * np.clip(rim, 0, 1)
    else:
        echo = echo + 0.7 * np.exp(-(((depth + 0.02) / 0.02) ** 2))
    return echo + (inner - echo) * inside, depth


def _shadow(canvas: Canvas) -> Field:
    """Vertical shadows of poor contact and of structures above, 0 to 1."""
    columns = power_noise(canvas, 1.8, low=0.3, high=1.6, stretch=30.0, angle=np.pi / 2)
    return np.clip(columns - 0.2, 0, 2) * step(canvas.y - 0.15, 0.2)


def _scan_convert(canvas: Canvas, image: Field) -> Field:
    """Map (depth, beam) to a sector with a curved footprint."""
    dx, dy = canvas.x - 0.5, canvas.y + 0.28
    radius = np.sqrt(dx * dx + dy * dy)
    beam = np.arctan2(dx, dy) / np.float32(1.15) + 0.5
    depth = (radius - 0.32) / np.float32(0.92)
    inside = (np.abs(beam - 0.5) < 0.5) & (depth > 0) & (depth < 1)
    return canvas.sample(image, beam, depth) * inside


def _overlay(state: UltrasoundState, canvas: Canvas) -> Field:
    layer = canvas.zeros()
    corner = (canvas.x < 0.016) & (canvas.y < 0.016) & ((canvas.x > 0.011) | (canvas.y < 0.004))
    layer[corner] = 0.8
    if state.text:
        layer = np.maximum(layer, write(canvas, state.text, 0.06, 0.88, height=8 / 256))
    finding = state.finding
    if state.calipers and finding.present and state.probe == "linear":
        radius = np.float32(finding.radius)
        dx, dy = np.abs(canvas.x - finding.x), np.abs(canvas.y - finding.y)
        for end, along, across in ((radius, dx, dy), (radius * np.float32(0.7), dy, dx)):
            off = np.abs(along - end)
            plus = ((off < 0.012) & (across < 0.002)) | ((off < 0.002) & (across < 0.012))
            dots = (along < end) & (across < 0.002) & (np.floor(along * 128) % 2 == 0)
            layer = np.maximum(layer, plus * 0.95 + dots * 0.45)
    return layer


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "probe", "fat_depth", "gland_depth", "muscle_depth", "gland_echo", "fibre", "fascia",
        "attenuation", "dynamic_range", "gain", "looks", "smoothing",
    ),
    lesion=("aspect",),
)  # fmt: skip
