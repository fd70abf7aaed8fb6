"""Names and sizes of the MedMNIST 2-D sets; their facts are in their cards."""

from __future__ import annotations

NAMES = (
    "pathmnist",
    "chestmnist",
    "dermamnist",
    "octmnist",
    "pneumoniamnist",
    "retinamnist",
    "breastmnist",
    "bloodmnist",
    "tissuemnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
)

SIZES = (28, 64, 128, 224)
"""Sides in which the owners distribute each set, in pixels, in the order of the cards' files."""
