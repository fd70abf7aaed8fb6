"""Lists of images: a fixed random part of one, and what tells one from another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...datasets.dataset import Item
from ...datasets.kept_rows import KeptItems
from ...errors import UsageError
from ...on_demand import OnDemand

SUBSET_SEED = 0
"""Not the run's: runs with different seeds are compared on the same images."""


def list_fingerprint(items: Sequence[Item]) -> str:
    """Number of the images of a list, and a SHA-256 that changes with them or with their order.

    Of kept rows it is that of the rows, which were hashed when they were written; else of the
    images' identifiers.
    """
    if isinstance(items, Subset):
        return f"{items.count} of {list_fingerprint(items.items)}"
    if isinstance(items, KeptItems):
        return f"{len(items)} images {items.rows.sha256}"
    digest = hashlib.sha256()
    for item in items:
        digest.update(item.id.encode() + b"\0")
    return f"{len(items)} images {digest.hexdigest()}"


@dataclass(frozen=True)
class Subset(OnDemand[Item]):
    """The first `count` of a random order of all items, in the list's order.

    The random order is `numpy.random.default_rng(SUBSET_SEED).permutation(len(items))`, so that a
    smaller subset of the same list is part of a larger one.

    Raises:
        UsageError: the list is shorter, or `count` is not positive.
    """

    items: Sequence[Item]
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= len(self.items):
            message = f"subset: {self.count:,} images of a list that has {len(self.items):,}"
            raise UsageError(message)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        order = np.random.default_rng(SUBSET_SEED).permutation(len(self.items))
        return np.sort(order[: self.count])

    def __getstate__(self) -> dict[str, object]:
        """Without the places, which follow from the rest."""
        return {"items": self.items, "count": self.count}

    def __len__(self) -> int:
        return self.count

    def made(self, place: int) -> Item:
        """The item at a place of the subset."""
        return self.items[self._places[place]]
