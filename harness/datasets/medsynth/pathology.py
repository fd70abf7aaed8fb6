"""Haematoxylin and eosin sections; tumour, lymphocytic infiltrate, necrosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .camera import Camera, CameraRanges, draw_camera, expose, rgb
from .latent import Finding, Placement, draw_finding, pick, uniform
from .noise import band_noise, power_noise, ridges
from .sample import Generator, Rendering
from .shapes import CellMap, Cells, Ellipse, blob_depth, map_cells, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field

CLASSES = ("normal", "tumour", "lymphocytic_infiltrate", "necrosis")
ARCHITECTURES = ("solid", "glandular", "stromal", "loose")

_CAMERAS = CameraRanges(
    blur=(0.3, 1.0), gain=(0.82, 1.04), gamma=(0.85, 1.2), cast=0.05, noise=(0.003, 0.011),
    sharpen=(0.0, 0.9),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PathologyState:
    """Latent state; lengths are fractions of the image side, stains optical densities."""

    finding: Finding
    camera: Camera
    architecture: str
    nucleus: float
    density: float
    elongation: float
    haematoxylin: float
    eosin: float
    basophilia: float
    hue: float
    chromatin: float
    nuclear_density: float
    membrane: float
    lumen: float
    unevenness: float
    fibre_angle: float
    fibre_turn: float
    fibre_scale: float
    fibre_contrast: float
    gland_scale: float


def draw_state(rng: np.random.Generator) -> PathologyState:
    """Draw a tissue, its staining and a finding."""
    placement = Placement(offset=(0.02, 0.3), y=(0.2, 0.8), radius=(0.13, 0.27))
    return PathologyState(
        finding=draw_finding(rng, CLASSES, placement),
        camera=draw_camera(rng, _CAMERAS),
        architecture=pick(rng, ARCHITECTURES),
        nucleus=float(0.0115 * np.exp(rng.normal(0.0, 0.36))),
        density=uniform(rng, (0.4, 1.0)),
        elongation=uniform(rng, (1.05, 1.5)),
        haematoxylin=uniform(rng, (0.7, 1.9)),
        eosin=uniform(rng, (0.35, 1.25)),
        basophilia=uniform(rng, (0.05, 0.35)),
        hue=uniform(rng, (0.0, 1.0)),
        chromatin=uniform(rng, (0.15, 0.5)),
        nuclear_density=uniform(rng, (0.4, 1.1)),
        membrane=uniform(rng, (0.0, 0.8)),
        lumen=uniform(rng, (0.0, 1.0)),
        unevenness=uniform(rng, (0.03, 0.2)),
        fibre_angle=uniform(rng, (0.0, 3.14)),
        fibre_turn=uniform(rng, (0.3, 1.6)),
        fibre_scale=uniform(rng, (12.0, 28.0)),
        fibre_contrast=uniform(rng, (0.1, 0.4)),
        gland_scale=uniform(rng, (2.0, 6.5)),
    )


@dataclass(frozen=True, slots=True)
class _Tissue:
    """Fields in [0, 1]: epithelium (rest is stroma), empty space, lesion."""

    epithelium: Field
    empty: Field
    lesion: Field


def render(state: PathologyState, canvas: Canvas) -> Rendering:
    """Lay out the tissue, place cells, and absorb light by the two stains (Beer-Lambert)."""
    tissue = _layout(state, canvas)
    cells, darkness = _place(state, canvas, tissue)
    cell_map = map_cells(canvas, cells, reach=1.6)
    haematoxylin, eosin = _stains(state, canvas, tissue, _Painted(cell_map, darkness))
    # Absorption of red, green and blue per unit of stain.
    blue = rgb(0.75, 1.0, 0.42)
    violet = rgb(0.58, 1.05, 0.40)
    first = blue + (violet - blue) * np.float32(state.hue)
    pink = rgb(0.12, 0.85, 0.42)
    red = rgb(0.10, 0.95, 0.75)
    second = pink + (red - pink) * np.float32(1 - state.hue)
    density = haematoxylin[..., None] * first + eosin[..., None] * second
    image = expose(canvas, np.exp(-density), state.camera)
    return Rendering(pixels=image, lesion=tissue.lesion)


def _layout(state: PathologyState, canvas: Canvas) -> _Tissue:
    pattern = power_noise(canvas, 2.0, low=state.gland_scale * 0.7, high=40.0)
    if state.architecture == "solid":
        epithelium, empty = step(pattern + 1.2, 0.25), step(pattern - 2.2 + state.lumen, 0.15)
    elif state.architecture == "glandular":
        rings = band_noise(canvas, state.gland_scale, width=0.3)
        epithelium = step(rings + 0.1 + 0.15 * pattern, 0.2)
        empty = step(rings - 1.1 + 0.15 * pattern - 0.4 * (1 - state.lumen), 0.12)
    elif state.architecture == "stromal":
        bands = band_noise(canvas, state.gland_scale, stretch=3.0, angle=state.fibre_angle)
        epithelium = step(bands - 0.5 + 0.2 * pattern, 0.2)
        empty = step(0.08 - np.abs(bands + 0.9 + 0.2 * pattern), 0.05) * np.float32(state.lumen)
    else:
        epithelium = step(pattern + 0.3, 0.5)
        holes = band_noise(canvas, 20.0, width=0.5)
        empty = step(holes - 1.3 + 0.7 * state.lumen + 0.2 * pattern, 0.15)
    finding = state.finding
    lesion = canvas.zeros()
    if finding.present:
        outline = Ellipse(
            finding.x, finding.y, finding.radius, finding.radius * 0.85, state.fibre_angle
        )
        lesion = step(blob_depth(canvas, outline, roughness=0.14, lobes=9), 0.02)
        filled = {"tumour": 0.9, "lymphocytic_infiltrate": 0.7, "necrosis": 0.6}[finding.label]
        empty = empty * (1 - filled * lesion)
    return _Tissue(epithelium=epithelium, empty=empty, lesion=lesion)


def _place(state: PathologyState, canvas: Canvas, tissue: _Tissue) -> tuple[Cells, np.ndarray]:
    """Cells on a jittered lattice, thinned where the tissue holds few; and their darkness."""
    rng = canvas.rng
    pitch = state.nucleus * 1.75
    side = int(1.15 / pitch) + 2
    rows, columns = np.mgrid[0:side, 0:side]
    jitter = rng.uniform(-0.45, 0.45, (2, side, side))
    x = ((columns + 0.5 * (rows % 2) + jitter[0]) * pitch - 0.06).ravel()
    y = ((rows + jitter[1]) * pitch - 0.06).ravel()
    draws = rng.uniform(0, 1, (5, x.size))
    at_x, at_y = np.clip(x, 0, 1).astype(np.float32), np.clip(y, 0, 1).astype(np.float32)
    epithelium = canvas.sample(tissue.epithelium, at_x, at_y)
    empty = canvas.sample(tissue.empty, at_x, at_y)
    lesion = canvas.sample(tissue.lesion, at_x, at_y)
    keep = state.density * (0.16 + 0.75 * epithelium) * (1 - np.clip(1.3 * empty, 0, 1))
    size = np.exp(0.22 * (draws[1] * 2 - 1)) * (0.9 + 0.1 * epithelium)
    stretch = 1 + (state.elongation - 1) * 2 * draws[2] + 1.3 * (1 - epithelium) * draws[2]
    dark = 0.65 + 0.5 * draws[3] + 0.2 * (1 - epithelium)
    label, severity = state.finding.label, state.finding.severity
    if label == "tumour":
        keep = keep + lesion * (0.72 + 0.18 * severity - keep)
        size = size * (1 + lesion * (0.25 + 0.5 * severity) * (0.3 + 1.2 * draws[4]))
        dark = dark + lesion * (0.3 * draws[4] - 0.05)
    elif label == "lymphocytic_infiltrate":
        keep = keep + lesion * (0.75 + 0.25 * severity - keep)
        size = size * (1 - 0.3 * lesion)
        stretch = stretch + lesion * (1.05 - stretch)
        dark = dark + 0.5 * lesion
    elif label == "necrosis":
        keep = keep * (1 - lesion * (0.55 + 0.4 * severity))
        size = size * (1 - 0.45 * lesion * draws[4])
    chosen = draws[0] < keep
    angle = np.where(epithelium > 0.5, draws[3] * 37.0, state.fibre_angle + 0.6 * (draws[2] - 0.5))
    a = state.nucleus * size * np.sqrt(stretch)
    b = state.nucleus * size / np.sqrt(stretch)
    parts = (part[chosen].astype(np.float64) for part in (x, y, a, b, angle))
    return Cells(*parts), dark[chosen].astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Painted:
    cells: CellMap
    darkness: np.ndarray


def _stains(
    state: PathologyState, canvas: Canvas, tissue: _Tissue, painted: _Painted
) -> tuple[Field, Field]:
    """Optical densities of haematoxylin and eosin."""
    fine = power_noise(canvas, 0.5, low=12.0, high=110.0)
    cloud = power_noise(canvas, 1.5)
    fibres = band_noise(canvas, state.fibre_scale, width=0.6, stretch=5.0, angle=state.fibre_angle)
    crossing = state.fibre_angle + state.fibre_turn
    other = band_noise(canvas, 0.8 * state.fibre_scale, width=0.6, stretch=4.0, angle=crossing)
    fibres = fibres + (other - fibres) * step(cloud, 0.6)
    radius = painted.cells.radius + 0.07 * fine
    edge = 0.6 / (state.nucleus * 256)
    nucleus = step(1 - radius, edge * 0.6)
    rim = np.exp(-(((radius - 0.9) / 0.18) ** 2)) * nucleus
    dark = painted.darkness[np.minimum(painted.cells.owner, painted.darkness.size - 1)]
    grain = np.clip(1 + state.chromatin * (fine + 0.6 * cloud), 0.3, 2.0)
    vesicle = 0.75 * np.float32(state.nuclear_density) * grain
    chromatin = dark * nucleus * (vesicle + 0.6 * state.membrane * rim)
    haematoxylin = np.float32(state.haematoxylin) * chromatin
    epithelium = tissue.epithelium
    haematoxylin += (
        np.float32(state.basophilia * state.haematoxylin) * epithelium * (1 + 0.3 * fine)
    )
    borders = np.exp(-(((painted.cells.radius - 1.75) / 0.2) ** 2)) * epithelium
    cytoplasm = 0.55 + 0.16 * fine + 0.1 * cloud + 0.35 * state.membrane * borders
    stroma = 0.75 + np.float32(state.fibre_contrast) * fibres + 0.12 * fine + 0.2 * cloud
    gaps = step(ridges(fibres, 0.12) - 0.74 - 0.3 * (1 - state.lumen), 0.2) * (1 - epithelium)
    eosin = stroma + (cytoplasm - stroma) * epithelium
    if state.finding.label == "necrosis":
        debris = 0.95 + 0.28 * fine + 0.15 * cloud
        share = np.float32(0.65 + 0.3 * state.finding.severity)
        eosin = eosin + (debris - eosin) * share * tissue.lesion
        gaps = gaps * (1 - tissue.lesion)
    eosin = np.float32(state.eosin) * np.clip(eosin, 0.05, 2) * (1 - 0.45 * nucleus)
    clear = np.clip(1 - tissue.empty, 0, 1) * (
        1 - np.float32(0.3 + 1.5 * state.fibre_contrast) * gaps
    )
    eosin = eosin * clear + 0.03
    haematoxylin *= np.maximum(clear, 0.85 * nucleus)
    # Sections are cut unevenly: thicker places take up more of both stains.
    uneven = 1 + np.float32(state.unevenness) * power_noise(canvas, 2.5, low=1.0, high=8.0)
    haematoxylin, eosin = haematoxylin * uneven, eosin * uneven
    return np.maximum(haematoxylin, 0), np.maximum(eosin, 0)


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "camera", "nucleus", "haematoxylin", "eosin", "basophilia", "hue", "chromatin",
        "nuclear_density", "membrane", "fibre_scale", "fibre_contrast",
    ),
)  # fmt: skip
