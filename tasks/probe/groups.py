"""One probe's images: those of one group, with class numbers, or why there can be no probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.datasets.labels import hold_several, names_of, strata_of
from ...harness.errors import MetricError
from ...harness.metrics.classification import class_numbers
from .splits import PARTS, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        labels = self.parts[part].labels.tolist()
        return strata_of(labels) if self.multi_label else labels


def make_group(name: str, parts: Mapping[str, Part], *, multi_label: bool = False) -> Group:
    """The images of one group and their classes.

    Args:
        name: of the group.
        parts: labelled images of all groups, by `PARTS`.
        multi_label: the set says that several labels may hold, whether or not an image shows it;
            otherwise the labels of the group tell (`hold_several`).

    Raises:
        MetricError: a part without images, one class only, a class that a part lacks, or one that
            training images do not have.
    """
    own = {part: images.where(images.groups == name) for part, images in parts.items()}
    for part in PARTS:
        if not len(own[part].rows):
            raise MetricError(f"{name}: the {part} part has no labelled image. Use a larger limit.")
    multi_label = multi_label or any(hold_several(images.labels) for images in own.values())
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
    return {each for label in set(labels) for each in names_of(label)}


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
    held = [set(names_of(label)) for label in labels]
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
