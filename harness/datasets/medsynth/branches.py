"""Wandering curves and branching trees: vessels, hairs, bronchi, wires."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import BASE_SIZE, Canvas, Field
from .shapes import stamp_discs


@dataclass(frozen=True, slots=True)
class Branches:
    """B curves of K points each: positions, radii (image sides) and headings (radians)."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    heading: np.ndarray


@dataclass(frozen=True, slots=True)
class Roots:
    """Where B curves start: (B,) positions, headings in radians, lengths and radii."""

    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    length: np.ndarray
    radius: np.ndarray


def grow(
    rng: np.random.Generator,
    roots: Roots,
    *,
    wander: float = 0.5,
    bend: np.ndarray | float = 0.0,
    taper: float = 0.5,
    steps: int = 40,
) -> Branches:
    """Grow one curve from each root.

    Args:
        rng: generator of the wandering.
        roots: starting points.
        wander: deviation of the heading's random part over a curve, radians.
        bend: steady change of heading over a whole curve, radians, (B,) or one value.
        taper: radius at the tip as a fraction of that at the root.
        steps: points per curve.
    """
    count = roots.x.size
    # Coarse control points, interpolated: neighbouring points must turn together.
    knots = np.cumsum(rng.normal(0.0, wander / 2.0, (count, 7)), axis=1)
    place = np.linspace(0, 6 - 1e-6, steps)
    left = place.astype(int)
    share = place - left
    share = share * share * (3 - 2 * share)
    turn = knots[:, left] * (1 - share) + knots[:, left + 1] * share - knots[:, :1]
    along = np.linspace(0.0, 1.0, steps)
    heading = roots.heading[:, None] + turn + np.reshape(bend, (-1, 1)) * along
    stride = roots.length[:, None] / steps
    x = roots.x[:, None] + np.cumsum(np.cos(heading), axis=1) * stride
    y = roots.y[:, None] + np.cumsum(np.sin(heading), axis=1) * stride
    radius = roots.radius[:, None] * (1 - (1 - taper) * along)
    return Branches(x=x, y=y, radius=radius, heading=heading)


def fork(
    rng: np.random.Generator,
    parent: Branches,
    *,
    children: int,
    spread: float = 0.7,
    length: tuple[float, float] = (0.1, 0.25),
    thinning: float = 0.7,
) -> Roots:
    """Roots of `children` side branches per parent curve, at random places along it.

    Args:
        rng: generator.
        parent: the curves to branch from.
        children: side branches per curve.
        spread: mean angle between a branch and its parent, radians.
        length: low and high length, image sides.
        thinning: radius of a branch as a fraction of its parent's there.
    """
    count, steps = parent.x.shape
    owner = np.repeat(np.arange(count), children)
    at = rng.integers(steps // 8, steps, owner.size)
    sign = np.where(rng.uniform(size=owner.size) < 0.5, -1.0, 1.0)
    angle = sign * spread * rng.uniform(0.6, 1.4, owner.size)
    return Roots(
        x=parent.x[owner, at],
        y=parent.y[owner, at],
        heading=parent.heading[owner, at] + angle,
        length=rng.uniform(*length, owner.size),
        radius=parent.radius[owner, at] * thinning * rng.uniform(0.75, 1.1, owner.size),
    )


def draw_branches(canvas: Canvas, branches: Branches, weight: float | np.ndarray = 1.0) -> Field:
    """Coverage 0 to 1 of the curves; `weight` is one value or (B,), the peak of each curve."""
    count, steps = branches.x.shape
    lengths = np.hypot(np.diff(branches.x, axis=1), np.diff(branches.y, axis=1)).sum(axis=1)
    pixels = float(lengths.max()) * canvas.size
    thinnest = max(0.6, float(branches.radius.min()) * canvas.size)
    refine = int(
        np.clip(np.ceil(pixels / (steps * 0.9 * thinnest)), 1, 8 * canvas.size // BASE_SIZE)
    )
    x, y, radius = (_refine(part, refine) for part in (branches.x, branches.y, branches.radius))
    weights = np.broadcast_to(np.asarray(weight, np.float32), (count,))
    spread = np.repeat(weights, x.shape[1])
    return stamp_discs(canvas, x.ravel(), y.ravel(), radius.ravel(), spread)


def _refine(points: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return points
    shares = np.arange(factor) / factor
    between = points[:, :-1, None] * (1 - shares) + points[:, 1:, None] * shares
    return between.reshape(points.shape[0], -1)
