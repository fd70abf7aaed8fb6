"""What lies over a radiograph: wires, a letter and the border of the collimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .branches import Roots, draw_branches, grow
from .lettering import write
from .shapes import step

if TYPE_CHECKING:
    from .canvas import Canvas, Field
    from .xray import XrayState


def add_marks(state: XrayState, canvas: Canvas, grey: Field) -> Field:
    """Wires, letter marker and collimation border."""
    if state.wires:
        rng = canvas.rng
        count = state.wires
        roots = Roots(
            x=rng.uniform(0.1, 0.9, count),
            y=rng.uniform(0.0, 0.4, count),
            heading=rng.uniform(0.5, 2.6, count),
            length=rng.uniform(0.3, 0.8, count),
            radius=np.full(count, 0.0026),
        )
        wires = draw_branches(canvas, grow(rng, roots, wander=1.5, taper=1.0, steps=80), 0.3)
        grey = grey + canvas.blur(wires, 0.4)
    if state.marker:
        x = 0.88 if state.marker == "L" else 0.07
        grey = np.maximum(grey, 0.97 * write(canvas, state.marker, x, 0.06, height=12 / 256))
    if state.border:
        edge = np.minimum(
            np.minimum(canvas.x, 1 - canvas.x) - state.border * 0.8,
            np.minimum(canvas.y, 1 - canvas.y) - state.border * 0.5,
        )
        grey = np.clip(grey, 0, 1) * step(edge, 0.004)
    return np.clip(grey, 0, 1)
