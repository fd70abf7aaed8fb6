"""The real images of each class: a fixed list to compare with, and others to compare it with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .classes import class_of_rows

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.task import Cell

RULE = (
    "the scored part without pixels of train; what a class lacks there is taken from val (the "
    "same) and then from train; of each the images with the smallest SHA-256 of part and id"
)
CONTAINS_TRAINING = "contains training images"
TRAIN = "train"


@dataclass(frozen=True, slots=True)
class RealImage:
    """One image of the reference."""

    part: str
    """Empty for the scored one."""
    row: int


@dataclass(frozen=True, slots=True)
class ReferenceClass:
    """The reference of one class.

    Attributes:
        name: of the class.
        images: as many as samples, where there are so many, of training images no more than
            are lacking; in the order of their hashes, so that the first few are a fair pick too.
        others: rows of the training part that are not among them: at most as many.
        flags: beside every value.
    """

    name: str
    images: tuple[RealImage, ...]
    others: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def held_out(self) -> list[bool]:
        """Of each image: whether no generator has learnt it."""
        return [image.part != TRAIN for image in self.images]


def stores_of(cell: Cell) -> Mapping[str, ImageStore]:
    """The scored part (named by the empty string) and the others, in the order of their use."""
    order = [name for name in ("val", TRAIN) if name in cell.parts]
    return {"": cell.store, **{name: cell.parts[name].store for name in order}}


def choose_reference(
    stores: Mapping[str, ImageStore], classes: Sequence[str], count: int
) -> list[ReferenceClass]:
    """At most `count` images of each class; fewer only where all parts together have fewer.

    What has the pixels of a training image is one, wherever it lies: it is left to `train`.
    """
    learnt = _pixels_of_training(stores)
    members = {part: class_of_rows(store, classes) for part, store in stores.items()}
    chosen = []
    for number, name in enumerate(classes):
        picked: list[tuple[bytes, RealImage]] = []
        for part, store in stores.items():
            rows = np.flatnonzero(members[part] == number).tolist()
            if part != TRAIN:
                rows = [row for row in rows if store.rows[row].sha256 not in learnt]
            ordered = sorted((_order(part, store.rows[row].id), row) for row in rows)
            lacking = ordered[: count - len(picked)]
            picked += [(order, RealImage(part, row)) for order, row in lacking]
        kept = tuple(image for _, image in sorted(picked, key=lambda each: each[0]))
        flags = (CONTAINS_TRAINING,) if any(each.part == TRAIN for each in kept) else ()
        others = _others(stores, members, number, kept)
        chosen.append(ReferenceClass(name, kept, others, flags))
    return chosen


def scored_training_images(stores: Mapping[str, ImageStore]) -> int:
    """How many images of the scored part are training images, pixel by pixel."""
    learnt = _pixels_of_training(stores)
    return sum(row.sha256 in learnt for row in stores[""].rows)


def _pixels_of_training(stores: Mapping[str, ImageStore]) -> set[str]:
    """SHA-256 of each."""
    return {row.sha256 for row in stores[TRAIN].rows} if TRAIN in stores else set()


def _others(
    stores: Mapping[str, ImageStore],
    members: Mapping[str, np.ndarray],
    number: int,
    kept: Sequence[RealImage],
) -> tuple[int, ...]:
    """Training images of the class that the reference has not, picked by hash."""
    if TRAIN not in stores:
        return ()
    store = stores[TRAIN]
    taken = {store.rows[image.row].sha256 for image in kept if image.part == TRAIN}
    rows = np.flatnonzero(members[TRAIN] == number).tolist()
    rows = [row for row in rows if store.rows[row].sha256 not in taken]
    rows.sort(key=lambda row: _order(TRAIN, store.rows[row].id))
    return tuple(rows[: len(kept)])


def _order(part: str, identifier: str) -> bytes:
    return hashlib.sha256(f"{part}\0{identifier}".encode()).digest()


def read_images(stores: Mapping[str, ImageStore], images: Sequence[RealImage]) -> np.ndarray:
    """uint8 (n, H, H, 3), checked against their hashes."""
    rows = [stores[image.part].read(image.row, image.row + 1) for image in images]
    return np.concatenate(rows)
