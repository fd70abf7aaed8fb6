"""CT windows as MedITok draws them in training (Ma et al. 2025): contrast as a change of view."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...datasets.images import Window
from ..augment import uniform

USUAL = Window(-1000, 1000)
"""Hounsfield units, where no other window is drawn."""
OTHERS = (
    Window(-1000, 2000),
    Window(-1000, 1000),
    Window(-150, 250),
    Window(-1400, 200),
    Window(-500, 1300),
)
"""What is drawn from with probability `DRAWN`."""
PROBABILITIES = (0.2, 0.3, 0.3, 0.15, 0.05)
"""Of `OTHERS`, in order."""
DRAWN = 0.5


def draw_window(generator: torch.Generator) -> Window:
    """A window for one CT image."""
    if uniform(generator) >= DRAWN:
        return USUAL
    weights = torch.tensor(PROBABILITIES, dtype=torch.float64)
    return OTHERS[int(torch.multinomial(weights, 1, generator=generator))]


def show(hounsfield: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Hounsfield units (H, W) through a window: float32 (H, W) in [0, 1], clipped."""
    scaled = (hounsfield.astype(np.float32) - window.low) / (window.high - window.low)
    return scaled.clip(0, 1)
