"""The real images that samples are compared with: a fixed list per class, as many as samples."""

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
    "the scored part; where a class has too few there, val and then train are added; the images "
    "with the smallest SHA-256 of part and id"
)
CONTAINS_TRAINING = "contains training images"


@dataclass(frozen=True, slots=True)
class RealImage:
    """One image of the reference."""

    part: str
    """Empty for the scored one."""
    row: int


@dataclass(frozen=True, slots=True)
class ReferenceClass:
    """The reference of one class."""

    name: str
    images: tuple[RealImage, ...]
    flags: tuple[str, ...] = ()


def stores_of(cell: Cell) -> Mapping[str, ImageStore]:
    """The scored part (named by the empty string) and the others, in the order of their use."""
    order = [name for name in ("val", "train") if name in cell.parts]
    return {"": cell.store, **{name: cell.parts[name].store for name in order}}


def choose_reference(
    stores: Mapping[str, ImageStore], classes: Sequence[str], count: int
) -> list[ReferenceClass]:
    """At most `count` images of each class; fewer only where all parts together have fewer."""
    members = {part: class_of_rows(store, classes) for part, store in stores.items()}
    chosen = []
    for number, name in enumerate(classes):
        pool: list[tuple[bytes, RealImage]] = []
        used = []
        for part, store in stores.items():
            if len(pool) >= count:
                break
            rows = np.flatnonzero(members[part] == number).tolist()
            if rows:
                used.append(part)
            pool += [(_order(part, store.rows[row].id), RealImage(part, row)) for row in rows]
        pool.sort(key=lambda each: each[0])
        kept = sorted((image for _, image in pool[:count]), key=lambda i: (i.part, i.row))
        flags = (CONTAINS_TRAINING,) if "train" in used else ()
        chosen.append(ReferenceClass(name, tuple(kept), flags))
    return chosen


def _order(part: str, identifier: str) -> bytes:
    return hashlib.sha256(f"{part}\0{identifier}".encode()).digest()


def read_images(stores: Mapping[str, ImageStore], images: Sequence[RealImage]) -> np.ndarray:
    """uint8 (n, H, H, 3), checked against their hashes."""
    rows = [stores[image.part].read(image.row, image.row + 1) for image in images]
    return np.concatenate(rows)
