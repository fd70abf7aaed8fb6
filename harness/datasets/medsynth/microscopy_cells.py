"""The cells of a blood smear: red cells and their changes, white cells and their nuclei."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .noise import power_noise
from .shapes import Ellipse, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field


@dataclass(frozen=True, slots=True)
class Film:
    """Amounts of stain per pixel, to which cells are added in place, and shared textures.

    Attributes:
        canvas: the drawing surface.
        haemoglobin: eosin bound by red cells.
        basophil: blue of cytoplasm.
        chromatin: purple of nuclei.
        granules: orange of granules.
        lesion: coverage of abnormal cells, 0 to 1.
        fine: texture of some pixels, zero mean and unit variance.
        cloud: texture of some tenths of the image side.
    """

    canvas: Canvas
    haemoglobin: Field
    basophil: Field
    chromatin: Field
    granules: Field
    lesion: Field
    fine: Field
    cloud: Field


@dataclass(frozen=True, slots=True)
class RedCell:
    """A red cell; lengths in image sides.

    Attributes:
        x: centre.
        y: centre.
        radius: mean radius.
        oval: elongation, 0 for a circle.
        angle: direction of the long axis, radians.
        pallor: 0 to 1, how much thinner the middle is.
        thickness: haemoglobin at its thickest, 1 on average.
        kind: "round", "crenated", "infected" or "sickle".
        form: four numbers in [0, 1] that vary the shape within its kind.
    """

    x: float
    y: float
    radius: float
    oval: float
    angle: float
    pallor: float
    thickness: float
    kind: str
    form: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WhiteCell:
    """A white cell: centre and radius in image sides, its kind, and how abnormal it is, 0 to 1."""

    x: float
    y: float
    radius: float
    kind: str
    severity: float


def open_film(canvas: Canvas) -> Film:
    """Return an empty film on `canvas`."""
    planes = [canvas.zeros() for _ in range(5)]
    fine = power_noise(canvas, 0.6, low=14.0, high=70.0)
    return Film(canvas, *planes, fine=fine, cloud=power_noise(canvas, 1.8))


Patch = tuple[slice, slice]


def _patch(canvas: Canvas, x: float, y: float, reach: float) -> Patch | None:
    """Rows and columns within `reach` of a point, None where the canvas has none."""
    bounds = []
    for centre in (y, x):
        low = max(0, math.floor((centre - reach) * canvas.size))
        high = min(canvas.size, math.ceil((centre + reach) * canvas.size))
        if low >= high:
            return None
        bounds.append(slice(low, high))
    return bounds[0], bounds[1]


def paint_red_cell(film: Film, cell: RedCell) -> None:
    """Add a red cell to the film; infected and sickle cells also to the lesion."""
    patch = _patch(film.canvas, cell.x, cell.y, 1.9 * cell.radius)
    if patch is None:
        return
    dx = (film.canvas.x[patch] - np.float32(cell.x)) / np.float32(cell.radius)
    dy = (film.canvas.y[patch] - np.float32(cell.y)) / np.float32(cell.radius)
    cosine, sine = math.cos(cell.angle), math.sin(cell.angle)
    u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
    softness = 0.012 / cell.radius * 0.35
    if cell.kind == "sickle":
        thickness, cover = _sickle(cell, u, v, softness)
    else:
        thickness, cover = _disc(cell, u, v, softness)
    grain = 1 + 0.035 * film.fine[patch]
    film.haemoglobin[patch] += np.float32(cell.thickness) * thickness * grain
    if cell.kind == "infected":
        _parasite(film, cell, patch, u, v)
    if cell.kind in ("infected", "sickle"):
        film.lesion[patch] = np.maximum(film.lesion[patch], cover)


def _disc(cell: RedCell, u: Field, v: Field, softness: float) -> tuple[Field, Field]:
    """A biconcave disc: thick towards its edge, pale in the middle."""
    stretch = np.float32(1 + cell.oval)
    a, b = u / stretch, v * stretch
    theta = np.arctan2(b, a)
    radius = np.sqrt(a * a + b * b)
    outline = 1 + 0.05 * np.cos(2 * theta + 6.28 * cell.form[0])
    outline = outline + 0.03 * np.cos(3 * theta + 6.28 * cell.form[1])
    if cell.kind == "crenated":
        teeth = 9 + int(5 * cell.form[2])
        outline = outline + 0.055 * np.cos(teeth * theta + 6.28 * cell.form[3])
    cover = step(outline - radius, softness)
    dent = np.exp(-((radius / np.float32(0.42 + 0.12 * cell.form[2])) ** 2))
    rim = 1 + 0.12 * np.exp(-(((radius - 0.88) / 0.1) ** 2))
    return cover * (rim - np.float32(0.85 * cell.pallor) * dent), cover


def _sickle(cell: RedCell, u: Field, v: Field, softness: float) -> tuple[Field, Field]:
    """A crescent with pointed ends: long, thin, bent, and without a pale middle."""
    length = 1.35 + 0.35 * cell.form[0]
    width = 0.34 + 0.16 * cell.form[1]
    bend = 0.25 + 0.45 * cell.form[2]
    along = u / np.float32(length)
    across = v - np.float32(bend) * (along * along - 0.35)
    half = np.float32(width) * np.clip(1 - along * along, 0, 1) ** np.float32(0.8)
    depth = np.where(np.abs(along) < 1, half - np.abs(across), -1.0).astype(np.float32)
    cover = step(depth, softness)
    return cover * (1.05 + 0.15 * np.clip(depth / width, 0, 1)), cover


def _parasite(film: Film, cell: RedCell, patch: Patch, u: Field, v: Field) -> None:
    """Signet rings: a thin blue loop with one or two chromatin dots on it."""
    distance, heading = 0.38 * cell.form[0], 6.28 * cell.form[1]
    du = u - np.float32(distance * math.cos(heading))
    dv = v - np.float32(distance * math.sin(heading))
    radius = np.sqrt(du * du + dv * dv)
    size = 0.26 + 0.16 * cell.form[2]
    theta = np.arctan2(dv, du)
    thick = 0.085 + 0.045 * np.cos(theta - np.float32(heading))
    loop = np.exp(-(((radius - size) / thick) ** 2))
    film.basophil[patch] += 1.0 * loop
    film.haemoglobin[patch] *= 1 - 0.25 * step(np.float32(size) - radius, 0.08)
    turns = (0.9,) if cell.form[3] < 0.65 else (0.9, 2.1)
    for turn in turns:
        at_u = size * math.cos(heading + turn)
        at_v = size * math.sin(heading + turn)
        dot = np.sqrt((du - np.float32(at_u)) ** 2 + (dv - np.float32(at_v)) ** 2)
        film.chromatin[patch] += 1.5 * step(0.15 - dot, 0.06)


def paint_white_cell(film: Film, cell: WhiteCell) -> None:
    """Add a white cell; blasts also to the lesion."""
    rng = film.canvas.rng
    form = rng.uniform(0.0, 1.0, 8)
    phases = rng.uniform(0.0, 6.28, 4)
    patch = _patch(film.canvas, cell.x, cell.y, 1.35 * cell.radius)
    if patch is None:
        return
    u = (film.canvas.x[patch] - np.float32(cell.x)) / np.float32(cell.radius)
    v = (film.canvas.y[patch] - np.float32(cell.y)) / np.float32(cell.radius)
    theta = np.arctan2(v, u)
    orders = enumerate(phases, start=2)
    outline = 1 + sum(0.045 / order * np.cos(order * theta + phase) for order, phase in orders)
    radius = np.sqrt(u * u + v * v)
    cover = step(outline - radius, 0.05)
    fine = film.fine[patch]
    nucleus = _nucleus(cell, form, u + 0.02 * fine, v - 0.02 * fine)
    inside = step(nucleus, 0.05) * cover
    _cytoplasm(film, cell, patch, cover * (1 - 0.9 * inside))
    film.chromatin[patch] += inside * _chromatin(film, cell, patch, nucleus, form)
    film.haemoglobin[patch] *= 1 - cover
    if cell.kind == "blast":
        _nucleoli(film, cell, patch, u, v, form)
        film.lesion[patch] = np.maximum(film.lesion[patch], cover)


def _nucleus(cell: WhiteCell, form: np.ndarray, u: Field, v: Field) -> Field:
    """Depth inside the nucleus, in cell radii."""
    heading = 6.28 * float(form[0])
    if cell.kind in ("lymphocyte", "blast"):
        filled = 0.80 + 0.08 * float(form[1])
        if cell.kind == "blast":
            filled = 0.82 + 0.08 * cell.severity
        shift = 0.5 * (1 - filled)
        whole = Ellipse(
            shift * math.cos(heading), shift * math.sin(heading), filled, filled * 0.93, heading
        ).depth(u, v)
        if form[2] < 0.5:
            return whole
        # A shallow cleft, as many nuclei have.
        cleft = Ellipse(
            0.95 * math.cos(heading), 0.95 * math.sin(heading), 0.3, 0.14, heading
        ).depth(u, v)
        return np.minimum(whole, -cleft)
    if cell.kind == "neutrophil":
        count, size, reach, span = 3 + int(2.99 * form[1]), 0.28, 0.46, 4.2
    elif cell.kind == "eosinophil":
        count, size, reach, span = 2, 0.36, 0.42, 2.4
    else:
        count, size, reach, span = 6, 0.4, 0.34, 2.6
    depth = np.full(u.shape, -1.0, np.float32)
    previous: tuple[float, float] | None = None
    for lobe in range(count):
        angle = heading + span * lobe / max(1, count - 1)
        wobble = 1 + 0.25 * (float(form[3 + lobe % 5]) - 0.5)
        x, y = reach * wobble * math.cos(angle), reach * wobble * math.sin(angle)
        part = Ellipse(x, y, size * 1.1, size * 0.9 * wobble, angle + 1.57).depth(u, v)
        depth = np.maximum(depth, part)
        if previous is not None:
            depth = np.maximum(depth, _bridge(u, v, previous, (x, y)))
        previous = (x, y)
    return depth


def _bridge(u: Field, v: Field, start: tuple[float, float], end: tuple[float, float]) -> Field:
    """Depth inside the thin strand between two lobes."""
    x, y = np.float32(start[0]), np.float32(start[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = np.clip(((u - x) * dx + (v - y) * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
    return 0.09 - np.hypot(u - x - share * np.float32(dx), v - y - share * np.float32(dy))


def _cytoplasm(film: Film, cell: WhiteCell, patch: Patch, body: Field) -> None:
    fine = film.fine[patch]
    if cell.kind == "neutrophil":
        film.basophil[patch] += 0.14 * body
        film.granules[patch] += body * np.clip(0.16 + 0.1 * fine, 0, 1)
    elif cell.kind == "eosinophil":
        film.basophil[patch] += 0.15 * body
        film.granules[patch] += body * np.clip(0.65 + 0.5 * fine, 0, 2)
    elif cell.kind == "monocyte":
        bubbles = step(fine - 1.5, 0.3)
        film.basophil[patch] += body * (0.5 + 0.07 * fine) * (1 - 0.7 * bubbles)
        film.granules[patch] += 0.1 * body
    elif cell.kind == "lymphocyte":
        film.basophil[patch] += body * (0.55 + 0.05 * fine)
    else:
        film.basophil[patch] += body * (0.85 + 0.1 * fine)


def _chromatin(film: Film, cell: WhiteCell, patch: Patch, depth: Field, form: np.ndarray) -> Field:
    """Amount of chromatin: clumped in mature cells, fine and pale in blasts."""
    fine = film.fine[patch]
    density, clumping = {
        "neutrophil": (1.15, 0.24),
        "eosinophil": (1.05, 0.22),
        "lymphocyte": (1.2, 0.2),
        "monocyte": (0.8, 0.24),
        "blast": (0.85, 0.12),
    }[cell.kind]
    rim = 0.12 * np.exp(-((depth / 0.08) ** 2))
    level = density * (0.92 + 0.16 * float(form[7]))
    return np.clip(np.float32(level) + np.float32(clumping) * fine + rim, 0.2, 2.0)


def _nucleoli(
    film: Film, cell: WhiteCell, patch: Patch, u: Field, v: Field, form: np.ndarray
) -> None:
    """Pale bluish nucleoli with a darker rim."""
    count = 1 + int(2.99 * form[3])
    for index in range(count):
        angle = 6.28 * float(form[4]) + 2.1 * index
        x, y = 0.38 * math.cos(angle), 0.38 * math.sin(angle)
        size = 0.16 + 0.06 * float(form[5 + index % 2])
        distance = np.hypot(u - np.float32(x), v - np.float32(y))
        hole = step(np.float32(size) - distance, 0.05)
        film.chromatin[patch] *= 1 - (0.4 + 0.2 * cell.severity) * hole
        film.basophil[patch] += 0.35 * hole
        film.chromatin[patch] += 0.14 * np.exp(-(((distance - size) / 0.06) ** 2))
