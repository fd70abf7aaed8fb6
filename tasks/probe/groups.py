"""One probe's images: those of one group, with class numbers, or why there can be no probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.classification import class_numbers
from .splits import PARTS, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEPARATOR = "|"
"""Between the labels of an image that has several."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The images of one group.

    Attributes:
        name: of the group.
        classes: names, in the order of the numbers.
        parts: images by `PARTS`.
        truth: by `PARTS`: int64 (n,) class numbers, or 0/1 (n, C) of a multi-label set.
    """

    name: str
    classes: tuple[str, ...]
    parts: Mapping[str, Part]
    truth: Mapping[str, NDArray[np.int64]]

    @property
    def multi_label(self) -> bool:
        """Whether several labels may hold for an image."""
        return self.truth["test"].ndim == 2

    def strata(self, part: str) -> list[str]:
        """A name for each image of a part: its class, or the rarest of its labels."""
        truth = self.truth[part]
        if truth.ndim == 1:
            return [self.classes[number] for number in truth]
        rarest_first = np.argsort(truth.sum(axis=0), kind="stable")
        held = truth[:, rarest_first]
        first = rarest_first[held.argmax(axis=1)].tolist()
        return [
            self.classes[number] if row.any() else "no label"
            for number, row in zip(first, held, strict=True)
        ]


def make_group(name: str, parts: Mapping[str, Part], *, multi_label: bool) -> Group:
    """The images of one group and their classes.

    Raises:
        MetricError: a part without images, one class only, a class that a part lacks, or one that
            training images do not have.
    """
    own = {part: images.where(images.groups == name) for part, images in parts.items()}
    for part in PARTS:
        if not len(own[part].rows):
            raise MetricError(f"{name}: the {part} part has no labelled image. Use a larger limit.")
    names = {part: _names(images.labels, multi_label) for part, images in own.items()}
    classes = tuple(sorted(names["train"]))
    if len(classes) < (1 if multi_label else 2):
        only = ", ".join(map(repr, classes)) or "nothing"
        raise MetricError(
            f"{name}: all {len(own['train'].rows)} training images are labelled {only}: a probe "
            "needs two classes."
        )
    for part in PARTS:
        _same_classes(name, part, names[part], classes)
    truth = {part: _truth(images.labels, classes, multi_label) for part, images in own.items()}
    if multi_label:
        _both_answers(name, truth, classes)
    return Group(name, classes, own, truth)


def _names(labels: NDArray[np.object_], multi_label: bool) -> set[str]:
    if not multi_label:
        return set(labels)
    return {each for label in set(labels) for each in label.split(SEPARATOR) if each}


def _same_classes(name: str, part: str, found: set[str], classes: Sequence[str]) -> None:
    missing = [each for each in classes if each not in found]
    if missing:
        raise MetricError(
            f"{name}: no image of the {part} part is labelled {', '.join(map(repr, missing[:5]))}, "
            "which training images are: AP, AUC and recall of a class need an image of it. Use a "
            "larger limit, or leave the class out."
        )
    strange = sorted(found - set(classes))
    if strange:
        raise MetricError(
            f"{name}: no training image is labelled {', '.join(map(repr, strange[:5]))}, which "
            f"images of the {part} part are. Use a larger limit, or leave the class out."
        )


def _truth(
    labels: NDArray[np.object_], classes: Sequence[str], multi_label: bool
) -> NDArray[np.int64]:
    if not multi_label:
        return class_numbers(labels.tolist(), classes)
    held = [set(label.split(SEPARATOR)) for label in labels]
    return np.array([[each in names for each in classes] for names in held], dtype=np.int64)


def _both_answers(
    name: str, truth: Mapping[str, NDArray[np.int64]], classes: Sequence[str]
) -> None:
    for part, table in truth.items():
        for number in np.flatnonzero(table.all(axis=0)).tolist():
            raise MetricError(
                f"{name}: every image of the {part} part has the label {classes[number]!r}: "
                "there is nothing to tell apart."
            )
