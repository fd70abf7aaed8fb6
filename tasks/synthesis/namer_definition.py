"""What defines the network that names samples, without loading torch."""

from __future__ import annotations

SIDE = 64
"""Pixels to which images are brought, by area."""
WIDTHS = (16, 32, 64, 96)
BATCH = 32
LEARNING_RATE = 3e-3

DEFINITION: dict[str, str | int | float] = {
    "network": "four 3x3 convolutions, stride 2, GroupNorm, SiLU; mean and maximum; linear",
    "widths": "-".join(map(str, WIDTHS)),
    "input": f"area to {SIDE} pixels, x / 127.5 - 1",
    "training": f"originals of the training part, classes equally often, batch {BATCH}, AdamW",
    "learning_rate": LEARNING_RATE,
}
"""All that changes `class_accuracy` but the preset's number of steps."""
