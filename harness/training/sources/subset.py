"""A fixed random part of a list, the same for every run and nested by size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ...datasets.dataset import Item
from ...errors import UsageError

SUBSET_SEED = 0
"""Not the run's: runs with different seeds are compared on the same images."""


@dataclass(frozen=True)
class Subset(Sequence[Item]):
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

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self.count))]
        return self.items[self._places[index]]
