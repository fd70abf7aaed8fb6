"""The classifier of diagnostic retention: one network for all groups of a data set.

Its classes are pairs of group and label; an image's group is known, so only the labels of that
group compete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..classifier import Classifier, trained_classifier
from .retention import RECIPE, classes_of

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore


def retention_classifier(store: ImageStore, *, device: str) -> Classifier:
    """The classifier of a labelled training part; its logits are in the order of `classes_of`."""
    classes = classes_of(store.rows)
    numbers = {name: number for number, name in enumerate(classes)}
    targets = np.array([numbers.get((row.group, str(row.label)), -1) for row in store.rows])
    groups = np.array([group for group, _ in classes])
    rivals = groups[:, None] == groups[None, :]
    return trained_classifier(store, targets, RECIPE, rivals=rivals, device=device)
