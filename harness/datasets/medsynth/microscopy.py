"""Stained blood smears; blasts, malaria parasites in red cells, sickle cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .camera import Camera, CameraRanges, draw_camera, expose, rgb
from .latent import Finding, Placement, chance, draw_finding, uniform
from .microscopy_cells import Film, RedCell, WhiteCell, open_film, paint_red_cell, paint_white_cell
from .sample import Generator, Rendering
from .shapes import stamp_discs

if TYPE_CHECKING:
    from .canvas import Canvas

CLASSES = ("normal", "blast", "malaria", "sickle_cells")
LEUKOCYTES = ("neutrophil", "neutrophil", "lymphocyte", "lymphocyte", "monocyte", "eosinophil")

_CAMERAS = CameraRanges(
    blur=(0.3, 1.1), gain=(0.84, 1.05), gamma=(0.85, 1.2), cast=0.05, noise=(0.003, 0.011),
    sharpen=(0.0, 0.8),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MicroscopyState:
    """Latent state; lengths are fractions of the image side, stains optical densities.

    `leukocyte` is the kind of the white cell at (`white_x`, `white_y`); "blast" where it is the
    finding.
    """

    finding: Finding
    camera: Camera
    leukocyte: str
    white_x: float
    white_y: float
    red_radius: float
    crowding: float
    pallor: float
    anisocytosis: float
    ovalocytes: float
    crenated: float
    platelets: int
    precipitate: int
    eosin: float
    azure: float
    hue: float
    plasma: float
    light_angle: float
    light_fall: float


def draw_state(rng: np.random.Generator) -> MicroscopyState:
    """Draw a smear, its stain, one white cell and a finding."""
    placement = Placement(offset=(0.04, 0.3), y=(0.22, 0.78), radius=(0.1, 0.24))
    finding = draw_finding(rng, CLASSES, placement)
    leukocyte = LEUKOCYTES[int(rng.integers(len(LEUKOCYTES)))]
    away = -1.0 if finding.x > 0.5 else 1.0
    white_x = 0.5 + away * uniform(rng, placement.offset)
    white_y = uniform(rng, placement.y)
    blast = finding.label == "blast"
    return MicroscopyState(
        finding=finding,
        camera=draw_camera(rng, _CAMERAS),
        leukocyte="blast" if blast else leukocyte,
        white_x=finding.x if blast else white_x,
        white_y=finding.y if blast else white_y,
        red_radius=uniform(rng, (0.052, 0.078)),
        crowding=uniform(rng, (0.25, 0.62)),
        pallor=uniform(rng, (0.25, 0.8)),
        anisocytosis=uniform(rng, (0.03, 0.11)),
        ovalocytes=uniform(rng, (0.0, 0.25)),
        crenated=uniform(rng, (0.1, 0.6)) if chance(rng, 0.15) else 0.0,
        platelets=int(rng.integers(0, 9)),
        precipitate=int(rng.integers(5, 40)) if chance(rng, 0.3) else 0,
        eosin=uniform(rng, (0.45, 1.1)),
        azure=uniform(rng, (0.75, 1.3)),
        hue=uniform(rng, (0.0, 1.0)),
        plasma=uniform(rng, (0.0, 0.12)),
        light_angle=uniform(rng, (0.0, 6.28)),
        light_fall=uniform(rng, (0.0, 0.3)),
    )


def render(state: MicroscopyState, canvas: Canvas) -> Rendering:
    """Lay the cells side by side, add up their stains, and absorb the lamp's light."""
    film = open_film(canvas)
    cells = _settle(state, canvas.rng)
    for cell in (*cells.red, *cells.abnormal):
        paint_red_cell(film, cell)
    for cell in cells.white:
        paint_white_cell(film, cell)
    _scatter_platelets(state, film)
    # Absorption of red, green and blue per unit of stain; Wright-Giemsa runs from pink to grey.
    salmon, greyish = rgb(0.10, 0.52, 0.50), rgb(0.24, 0.46, 0.40)
    blue, violet = rgb(0.78, 0.50, 0.12), rgb(0.62, 0.62, 0.20)
    purple = rgb(0.80, 1.35, 0.36)
    turn = np.float32(state.hue)
    density = (film.haemoglobin * np.float32(state.eosin))[..., None] * (
        salmon + (greyish - salmon) * turn
    )
    azure = np.float32(state.azure)
    density += (film.basophil * azure)[..., None] * (blue + (violet - blue) * turn)
    density += (film.chromatin * azure)[..., None] * purple
    density += (film.granules * np.float32(state.eosin))[..., None] * rgb(0.12, 0.85, 0.95)
    plasma = np.float32(state.plasma) * (1 + 0.12 * film.cloud)
    density += plasma[..., None] * rgb(0.35, 0.6, 0.45)
    dx, dy = canvas.x - 0.5, canvas.y - 0.5
    across = dx * math.cos(state.light_angle) + dy * math.sin(state.light_angle)
    light = 1 - np.float32(state.light_fall) * (across + 0.8 * (dx * dx + dy * dy))
    scene = rgb(0.95, 0.94, 0.91) * np.exp(-density) * light[..., None]
    return Rendering(pixels=expose(canvas, scene, state.camera), lesion=film.lesion)


@dataclass(frozen=True, slots=True)
class _Settled:
    """Where cells came to lie: white cells first, then the abnormal red cells, then the others."""

    white: list[WhiteCell]
    abnormal: list[RedCell]
    red: list[RedCell]


def _settle(state: MicroscopyState, rng: np.random.Generator) -> _Settled:
    """Place cells one after another where they find room."""
    white = _white_cells(state, rng)
    taken = [(cell.x, cell.y, cell.radius) for cell in white]
    finding = state.finding
    abnormal: list[RedCell] = []
    if finding.label in ("malaria", "sickle_cells"):
        wanted = 2 + round(7 * finding.severity)
        sign = 1.0 if finding.x > 0.5 else -1.0
        for attempt in range(8 * wanted):
            spread = rng.normal(0.0, 0.75, 2) * finding.radius * (attempt > 0)
            cell = _red_cell(state, rng, finding.x + spread[0], finding.y + spread[1])
            # Reflected at the midline, so that the side in the state is that in the image.
            x = 0.5 + sign * max(abs(cell.x - 0.5), 0.3 * cell.radius)
            outside = not (0.04 < x < 0.96 and 0.04 < cell.y < 0.96)
            if len(abnormal) == wanted or (attempt > 0 and outside):
                continue
            if attempt == 0 or _has_room(taken, x, cell.y, cell.radius, 0.9):
                kind = "infected" if finding.label == "malaria" else "sickle"
                abnormal.append(_altered(rng, cell, x, kind))
                taken.append((x, cell.y, cell.radius))
    red: list[RedCell] = []
    target = state.crowding * 1.3 / (math.pi * state.red_radius**2)
    for _ in range(360):
        place = rng.uniform(-0.06, 1.06, 2)
        cell = _red_cell(state, rng, float(place[0]), float(place[1]))
        closeness = 0.88 + 0.2 * float(rng.uniform())
        if len(red) < target and _has_room(taken, cell.x, cell.y, cell.radius, closeness):
            red.append(cell)
            taken.append((cell.x, cell.y, cell.radius))
    return _Settled(white=white, abnormal=abnormal, red=red)


def _has_room(
    taken: list[tuple[float, float, float]], x: float, y: float, radius: float, closeness: float
) -> bool:
    if not taken:
        return True
    other = np.asarray(taken)
    distance = np.hypot(other[:, 0] - x, other[:, 1] - y)
    return bool(np.all(distance > closeness * (other[:, 2] + radius)))


def _white_cells(state: MicroscopyState, rng: np.random.Generator) -> list[WhiteCell]:
    size = {"neutrophil": 1.65, "lymphocyte": 1.35, "monocyte": 2.0, "eosinophil": 1.7}
    if state.leukocyte != "blast":
        radius = state.red_radius * size[state.leukocyte] * float(rng.uniform(0.92, 1.1))
        return [WhiteCell(state.white_x, state.white_y, radius, state.leukocyte, 0.0)]
    severity = state.finding.severity
    radius = state.red_radius * (1.6 + 0.45 * severity) * float(rng.uniform(0.94, 1.08))
    cells = [WhiteCell(state.white_x, state.white_y, radius, "blast", severity)]
    if severity > 0.6:
        heading = rng.uniform(0, 2 * np.pi)
        x = state.white_x + 2.2 * radius * np.cos(heading)
        y = state.white_y + 2.2 * radius * np.sin(heading)
        x = 0.5 + math.copysign(abs(x - 0.5), state.white_x - 0.5)
        cells.append(WhiteCell(float(x), float(y), radius * 0.95, "blast", severity))
    return cells


def _red_cell(state: MicroscopyState, rng: np.random.Generator, x: float, y: float) -> RedCell:
    draws = rng.uniform(0.0, 1.0, 5)
    oval = 0.3 * float(draws[0]) * float(draws[1] < state.ovalocytes)
    return RedCell(
        x=x,
        y=y,
        radius=state.red_radius * float(np.exp(state.anisocytosis * rng.normal())),
        oval=oval + 0.05 * float(draws[0]),
        angle=float(draws[2]) * 6.28,
        pallor=state.pallor * (0.7 + 0.5 * float(draws[3])),
        thickness=0.85 + 0.3 * float(rng.uniform()),
        kind="crenated" if draws[4] < state.crenated else "round",
        form=tuple(float(value) for value in rng.uniform(0.0, 1.0, 4)),
    )


def _altered(rng: np.random.Generator, cell: RedCell, x: float, kind: str) -> RedCell:
    form = tuple(float(value) for value in rng.uniform(0.0, 1.0, 4))
    return RedCell(
        x, cell.y, cell.radius, cell.oval, cell.angle, cell.pallor, cell.thickness, kind, form
    )


def _scatter_platelets(state: MicroscopyState, film: Film) -> None:
    """Platelets between the cells and specks of stain anywhere: both mimic parasites."""
    rng = film.canvas.rng
    place = rng.uniform(0.0, 1.0, (2, 8))[:, : state.platelets]
    size = (state.red_radius * rng.uniform(0.2, 0.36, 8))[: state.platelets]
    if state.platelets:
        discs = stamp_discs(film.canvas, place[0], place[1], size, 1.0)
        body = film.canvas.blur(discs, 1.0) * np.clip(0.8 + 0.5 * film.fine, 0.1, 1.6)
        film.basophil[:] += 0.25 * body
        film.chromatin[:] += 0.3 * body * body
    if state.precipitate:
        spots = rng.uniform(0.0, 1.0, (2, state.precipitate))
        radius = state.red_radius * rng.uniform(0.03, 0.11, state.precipitate)
        specks = stamp_discs(film.canvas, spots[0], spots[1], radius, 1.0)
        film.chromatin[:] += 0.6 * film.canvas.blur(specks, 0.5)


GENERATOR = Generator(
    classes=CLASSES, draw=draw_state, render=render,
    patient=(
        "camera", "red_radius", "pallor", "anisocytosis", "ovalocytes", "crenated", "eosin",
        "azure", "hue", "plasma",
    ),
    lesion=("leukocyte", "white_x", "white_y"),
)  # fmt: skip
