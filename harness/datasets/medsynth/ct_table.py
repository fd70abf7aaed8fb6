"""What lies beside the body in a CT slice: the table, and at times the arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .shapes import Ellipse, step

if TYPE_CHECKING:
    from .canvas import Canvas, Field
    from .ct import CtState


def add_table(state: CtState, canvas: Canvas, skin: Field, density: Field) -> Field:
    """Add the table, and arms beside the body, to `density`; `skin` is the depth below the skin."""
    air = step(-skin, 0.003)
    if state.arms:
        for side in (-1, 1):
            arm = Ellipse(0.5 + side * 0.46, state.centre_y + 0.02, 0.06, 0.075)
            depth = arm.depth(canvas.x, canvas.y)
            bone = Ellipse(0.5 + side * 0.46, state.centre_y + 0.02, 0.018, 0.018).cover(
                canvas.x, canvas.y
            )
            limb = -100 + 150 * step(depth - 0.012, 0.005) + 700 * bone
            density = density + (limb - density) * step(depth, 0.003) * air
    if state.table == "none":
        return density
    top = state.centre_y + 1.02 * state.body_b
    bow = (canvas.x - 0.5) ** 2 * np.float32(-0.35)
    line = canvas.y - np.float32(top + 0.025) - bow
    inside = step(0.44 - np.abs(canvas.x - 0.5), 0.004)
    sheet = np.exp(-((line / 0.004) ** 2))
    if state.table != "curved":
        sheet = np.maximum(sheet, np.exp(-(((line - 0.055) / 0.004) ** 2)))
    level = -1000 + 950 * sheet
    if state.table == "wedge":
        trapeze = np.minimum(
            0.03 - np.abs(line - 0.05), 0.2 - 1.6 * (line - 0.02) - np.abs(canvas.x - 0.5)
        )
        level = np.maximum(level, -1000 + 950 * step(trapeze, 0.004))
    else:
        foam = step(np.float32(0.024) - np.abs(line - 0.028), 0.004)
        level = np.maximum(level, -1000 + 60 * foam)
    return np.maximum(density, -1000 + (level + 1000) * inside * air)
