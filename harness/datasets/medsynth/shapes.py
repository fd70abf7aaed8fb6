"""Smooth shapes: steps, ellipses, random blobs and stamped discs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .canvas import Canvas, Field


def step(field: Field, softness: float) -> Field:
    """Smooth 0-to-1 step of a field at 0; `softness` is the half width of the ramp."""
    share = np.asarray(field * np.float32(0.5 / softness), np.float32)
    share += np.float32(0.5)
    np.clip(share, 0.0, 1.0, out=share)
    slack = share * np.float32(-2.0)
    slack += np.float32(3.0)
    slack *= share
    slack *= share
    return slack


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre, semi-axes (fractions of the image side) and rotation in radians."""

    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0

    def frame(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Coordinates along the axes in units of the semi-axes: 1 on the outline."""
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        if self.angle == 0.0:
            return dx * np.float32(1 / self.a), dy * np.float32(1 / self.b)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        along = dx * np.float32(cosine / self.a) + dy * np.float32(sine / self.a)
        across = dy * np.float32(cosine / self.b) - dx * np.float32(sine / self.b)
        return along, across

    def radius(self, x: Field, y: Field) -> Field:
        """Normalised radius: 0 at the centre, 1 on the outline."""
        along, across = self.frame(x, y)
        return np.sqrt(along * along + across * across)

    def depth(self, x: Field, y: Field) -> Field:
        """Roughly the distance inside the outline (negative outside), in image sides."""
        return (1 - self.radius(x, y)) * np.float32(min(self.a, self.b))

    def cover(self, x: Field, y: Field, softness: float = 0.004) -> Field:
        """Coverage, 1 inside, with an edge of half width `softness`."""
        return step(self.depth(x, y), softness)


def blob_depth(canvas: Canvas, ellipse: Ellipse, *, roughness: float, lobes: int = 6) -> Field:
    """Depth inside an ellipse whose outline is a random Fourier series.

    Args:
        canvas: where to draw; its generator gives the outline.
        ellipse: the mean outline.
        roughness: deviation of the radius, as a fraction of it.
        lobes: highest harmonic; more give a spikier outline.
    """
    along, across = ellipse.frame(canvas.x, canvas.y)
    theta = np.arctan2(across, along)
    orders = np.arange(2, lobes + 1)
    weights = canvas.rng.normal(0.0, 1.0, orders.size) / orders**1.6
    phases = canvas.rng.uniform(0, 2 * np.pi, orders.size)
    scale = roughness / max(1e-6, float(np.sqrt(np.sum(weights**2) / 2)))
    # The outline is tabulated once: a sine per harmonic and pixel would dominate the cost.
    knots = np.linspace(-np.pi, np.pi, 257)
    outline = 1 + scale * np.sum(
        weights[:, None] * np.cos(orders[:, None] * knots + phases[:, None]), axis=0
    )
    outline = np.maximum(outline, 0.35).astype(np.float32)
    place = (theta + np.float32(np.pi)) * np.float32(256 / (2 * np.pi))
    left = np.minimum(place.astype(np.int32), 255)
    share = place - left.astype(np.float32)
    edge = outline[left] * (1 - share) + outline[left + 1] * share
    radius = np.sqrt(along * along + across * across)
    return (edge - radius) * np.float32(min(ellipse.a, ellipse.b))


def _patches(canvas: Canvas, x: np.ndarray, y: np.ndarray, half: int) -> tuple[Field, ...]:
    """Rows, columns and pixel offsets of a (2·half+1)² patch around each point."""
    span = np.arange(-half, half + 1)
    column = np.floor(x * canvas.size).astype(np.int64)[:, None, None] + span[None, None, :]
    row = np.floor(y * canvas.size).astype(np.int64)[:, None, None] + span[None, :, None]
    dx = (column + 0.5 - (x * canvas.size)[:, None, None]).astype(np.float32)
    dy = (row + 0.5 - (y * canvas.size)[:, None, None]).astype(np.float32)
    return row, column, dx, dy


def _size_groups(radius_pixels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Patch half sizes with the points that use them; few groups keep the loop short."""
    need = np.ceil(radius_pixels + 0.5).astype(np.int64)
    halves = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256])
    group = np.searchsorted(halves, need)
    return [(int(halves[g]), np.flatnonzero(group == g)) for g in np.unique(group)]


def stamp_discs(
    canvas: Canvas, x: np.ndarray, y: np.ndarray, radius: np.ndarray, weight: np.ndarray | float
) -> Field:
    """Antialiased discs, composited by maximum.

    Args:
        canvas: where to draw.
        x: (k,) centres, fractions of the image side.
        y: (k,) centres.
        radius: (k,) radii; a disc thinner than a pixel is drawn fainter, not wider.
        weight: (k,) or one value at the centre.
    """
    out = np.zeros(canvas.size * canvas.size, np.float32)
    pixels = (np.broadcast_to(radius, x.shape) * canvas.size).astype(np.float32)
    weight = np.broadcast_to(np.asarray(weight, np.float32), x.shape)
    weight = weight * np.minimum(pixels / 0.6, 1.0)
    pixels = np.maximum(pixels, 0.6)
    for half, members in _size_groups(pixels):
        row, column, dx, dy = _patches(canvas, x[members], y[members], half)
        distance = np.sqrt(dx * dx + dy * dy)
        cover = np.clip(pixels[members][:, None, None] - distance + 0.5, 0.0, 1.0)
        cover *= weight[members][:, None, None]
        inside = (row >= 0) & (row < canvas.size) & (column >= 0) & (column < canvas.size)
        inside &= cover > 0
        np.maximum.at(out, (row * canvas.size + column)[inside], cover[inside])
    return out.reshape(canvas.size, canvas.size)


@dataclass(frozen=True, slots=True)
class Cells:
    """Elliptic cells: centres, semi-axes (image sides) and rotations, each (k,)."""

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True, slots=True)
class CellMap:
    """For each pixel the nearest cell and the normalised radius in it.

    Attributes:
        owner: (n, n) int64 index of the cell; 0 where no cell is near.
        radius: (n, n) 0 at the cell's centre, 1 on its outline, at most 2 (far away).
    """

    owner: np.ndarray
    radius: Field


def map_cells(canvas: Canvas, cells: Cells, *, reach: float = 1.0) -> CellMap:
    """Find for each pixel the cell whose normalised radius is smallest.

    Args:
        canvas: where to draw.
        cells: the cells.
        reach: how far from its outline a cell still claims pixels, as a factor of its size.
    """
    far = np.int64(2_000_000) << 20
    keys = np.full(canvas.size * canvas.size, far, np.int64)
    for half, members in _size_groups(reach * np.maximum(cells.a, cells.b) * canvas.size):
        row, column, dx, dy = _patches(canvas, cells.x[members], cells.y[members], half)
        cosine = np.cos(cells.angle[members]).astype(np.float32)[:, None, None]
        sine = np.sin(cells.angle[members]).astype(np.float32)[:, None, None]
        a = (cells.a[members] * canvas.size).astype(np.float32)[:, None, None]
        b = (cells.b[members] * canvas.size).astype(np.float32)[:, None, None]
        radius = np.sqrt(
            ((dx * cosine + dy * sine) / a) ** 2 + ((dy * cosine - dx * sine) / b) ** 2
        )
        inside = (row >= 0) & (row < canvas.size) & (column >= 0) & (column < canvas.size)
        inside &= radius < 2.0
        owner = np.broadcast_to(members[:, None, None], radius.shape)
        key = ((radius * 1e6).astype(np.int64) << 20) + owner
        np.minimum.at(keys, (row * canvas.size + column)[inside], key[inside])
    owner = keys & ((1 << 20) - 1)
    radius = ((keys >> 20) * 1e-6).astype(np.float32)
    shape = (canvas.size, canvas.size)
    return CellMap(owner=owner.reshape(shape), radius=radius.reshape(shape))
