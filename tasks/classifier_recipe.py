"""How the small classifier of a data set is trained, without loading torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ClassifierRecipe:
    """All that the classifier's weights depend on, besides images and classes.

    Attributes:
        steps: of AdamW, one cycle.
        batch: images of a step; classes are drawn equally often.
        side: pixels to which images are brought, by area.
        rate: highest learning rate.
        decay: of the weights.
        shift: pixels by which a batch is moved at most.
        light: by how much gain and offset of an image are changed at most.
        seed: of weights and draws.
    """

    steps: int
    batch: int = 64
    side: int = 128
    rate: float = 3e-3
    decay: float = 5e-2
    shift: int = 8
    light: float = 0.1
    seed: int = 0

    def terms(self) -> dict[str, Any]:
        """JSON-able: for definitions, and for the cache's key."""
        return {
            "version": 2,
            "network": "four 3x3 convolutions of stride 2 (16, 32, 64, 64), batch norm, "
            "mean and maximum, linear",
            "input": "resized by area, x / 127.5 - 1",
            "loss": "cross-entropy, classes equally often",
            "optimiser": "AdamW, one cycle",
            "augmentation": "mirrored left to right half of the time, shifted, gain and offset",
            **asdict(self),
        }
