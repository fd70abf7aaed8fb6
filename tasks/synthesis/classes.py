"""Which class an image is of: its modality, or its label in a set of one modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...harness.datasets.dataset import hash_order
from ...harness.datasets.labels import hold_several
from ...harness.errors import UsageError
from ...harness.vocabulary import FACET

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.datasets.store import ImageStore

FEWEST_TRAINING = 8
"""Images that a class needs to be learnt at all."""
_LABEL = "label:"
_MOST_LABELS = 50


class Member(Protocol):
    """An image of a data set, read or not."""

    @property
    def group(self) -> str:
        """Its modality."""
        ...

    @property
    def label(self) -> str | None:
        """As the set writes it."""
        ...


def classes_of(train: Dataset, limit: int | None) -> tuple[str, ...]:
    """The classes of a training part: all that follows asks for these, whatever of it is read.

    Args:
        train: the training part.
        limit: the user's, of images per group.

    Raises:
        UsageError: a label can be no group of a record.
    """
    # Whoever has several groups need not list tens of thousands of images to say so.
    groups = {item.group for item in train.items(1)}
    return tuple(sorted(groups)) if len(groups) > 1 else find_classes(train.items(limit))


def find_classes(members: Iterable[Member]) -> tuple[str, ...]:
    """The classes of images, in alphabetical order: names of a record's groups.

    Several modalities: those. One: its labels, if every image has one of at most fifty; else the
    modality alone.

    Raises:
        UsageError: a label can be no group of a record.
    """
    groups, labels = set(), set()
    for member in members:
        groups.add(member.group)
        labels.add(member.label or "")
    if len(groups) > 1:
        return tuple(sorted(groups))
    if 2 <= len(labels) <= _MOST_LABELS and not (hold_several(labels) or "" in labels):
        return tuple(_group_of(label) for label in sorted(labels))
    return tuple(sorted(groups))


def _group_of(label: str) -> str:
    """The group of a label, if a record can hold it: else hours of training would end without."""
    if not FACET.fullmatch(f"{_LABEL}{label}"):
        message = (
            f"the label {label!r} has {len(label)} characters. As the name of a class it may have "
            "1 to 80, without line breaks and other control characters: give it another name."
        )
        raise UsageError(message)
    return f"{_LABEL}{label}"


def class_name(member: Member, classes: Sequence[str]) -> str:
    """The class of an image; it may be none of them."""
    return f"{_LABEL}{member.label}" if _are_labels(classes) else member.group


def _are_labels(classes: Sequence[str]) -> bool:
    return bool(classes) and classes[0].startswith(_LABEL)


def class_of_rows(store: ImageStore, classes: Sequence[str]) -> np.ndarray:
    """Class number of each row of a store, int64 (N,); -1 where it is of none."""
    place = {name: number for number, name in enumerate(classes)}
    found = (place.get(class_name(row, classes), -1) for row in store.rows)
    return np.fromiter(found, dtype=np.int64, count=len(store.rows))


def group_limit(
    dataset: Dataset, classes: Sequence[str], per_class: int | None, limit: int | None
) -> int | None:
    """Images to read of each group so that every class has `per_class`, if the set has so many.

    A class is a group, or one of the labels of a single group: the rarest of them decides then.

    Args:
        dataset: whose images are read.
        classes: see `classes_of`.
        per_class: images wanted; None: all.
        limit: the user's, of images per group; None where none was given.
    """
    if per_class is None:
        return limit
    if not _are_labels(classes):
        return per_class if limit is None else min(per_class, limit)
    items = dataset.items(limit)
    names = [class_name(item, classes) for item in items]
    counts: Counter[str] = Counter()
    missing = set(names) & set(classes)
    for read, place in enumerate(hash_order([item.id for item in items]), start=1):
        name = names[place]
        counts[name] += 1
        if counts[name] >= per_class:
            missing.discard(name)
        if not missing:
            return read
    return limit


def pick_per_class(store: ImageStore, numbers: np.ndarray, most: int | None) -> np.ndarray:
    """At most so many rows of each class, int64, ascending: those with the smallest hash of id."""
    if most is None:
        return np.flatnonzero(numbers >= 0)
    order = np.array(hash_order([row.id for row in store.rows]), dtype=np.int64)
    chosen = [order[numbers[order] == number][:most] for number in np.unique(numbers[numbers >= 0])]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


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
