"""Which class an image is of: its modality, or its label in a set of one modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UsageError
from ...harness.vocabulary import MODALITIES

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore

FEWEST_TRAINING = 8
"""Images that a class needs to be learnt at all."""
_MOST_LABELS = 50


def class_of_rows(store: ImageStore, classes: Sequence[str]) -> np.ndarray:
    """Class number of each row of a store, int64 (N,); -1 where it is of none."""
    place = {name: number for number, name in enumerate(classes)}
    by_label = bool(classes) and classes[0].startswith("label:")
    names = (f"label:{row.label}" if by_label else row.group for row in store.rows)
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)


def find_classes(train: ImageStore) -> tuple[str, ...]:
    """The classes of a training part, in alphabetical order: names of a record's groups.

    Several modalities: those. One: its labels, if every image has one of at most fifty; else the
    modality alone.
    """
    groups = sorted({row.group for row in train.rows})
    if len(groups) > 1:
        return tuple(groups)
    labels = {row.label or "" for row in train.rows}
    if 2 <= len(labels) <= _MOST_LABELS and not any("|" in each or not each for each in labels):
        return tuple(f"label:{label}" for label in sorted(labels))
    return tuple(groups)


def check_enough(numbers: np.ndarray, classes: Sequence[str]) -> None:
    """Refuse classes with too few training images.

    Raises:
        UsageError: names them, with their counts.
    """
    counts = np.bincount(numbers[numbers >= 0], minlength=len(classes))
    few = [
        f"{name} ({count})"
        for name, count in zip(classes, counts, strict=True)
        if count < FEWEST_TRAINING
    ]
    if few:
        message = (
            f"too few training images per class: {', '.join(few)}; at least {FEWEST_TRAINING} are "
            "needed. Raise --limit, or take a larger set."
        )
        raise UsageError(message)


def is_modality(name: str) -> bool:
    """Whether a class is a modality."""
    return name in MODALITIES
