"""What the harness asks of an image dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .card import Card
from .images import Decoded


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a dataset, not yet read."""

    id: str
    """Unique in the dataset, stable across machines."""
    group: str
    """The modality, or another group that the reader declares."""
    load: Callable[[], Decoded]
    """Reads it as RGB uint8; raises `UsageError` naming the file when it cannot."""
    content_key: Callable[[], Any]
    """JSON-able; changes whenever the loaded pixels may."""
    label: str | None = None
    patient: str | None = None
    load_mask: Callable[[], np.ndarray] | None = None
    """bool (H, W): the lesion, or the structures that the set marks; its card says which."""
    caption: str | None = None


class Dataset(Protocol):
    """A named, ordered collection of images.

    `id` carries what changes the number (`pathmnist@224`); `split` names the part read.
    """

    id: str
    card: Card
    split: str

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """All items, or a fixed pick of at most `limit` per group, in a fixed order."""
        ...


def hash_order(ids: Sequence[str]) -> list[int]:
    """Places of the ids, ordered by their SHA-256: the first of them are a fixed random pick."""
    digests = [hashlib.sha256(each.encode()).digest() for each in ids]
    return sorted(range(len(ids)), key=digests.__getitem__)


def pick_per_group(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` items of each group: those with the smallest SHA-256 of their id.

    The pick does not depend on the order of the files, and a smaller limit gives a subset of a
    larger one. The original order is kept.
    """
    if limit is None:
        return list(items)
    taken: dict[str, int] = {}
    chosen: set[str] = set()
    for place in hash_order([item.id for item in items]):
        item = items[place]
        if taken.get(item.group, 0) < limit:
            taken[item.group] = taken.get(item.group, 0) + 1
            chosen.add(item.id)
    return [item for item in items if item.id in chosen]
