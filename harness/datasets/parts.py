"""The other parts of a dataset: from the one that is scored to those that a task learns on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..errors import UsageError
from .dataset import Dataset


@runtime_checkable
class Parted(Protocol):
    """A dataset that knows its other parts."""

    def part(self, name: str) -> Dataset:
        """The part of that name (`train`, `val`, `test`) of the same set.

        Raises:
            UsageError: the set has no such part; says which it has.
        """
        ...


def part_of(dataset: Dataset, name: str) -> Dataset:
    """Another part of the dataset's set.

    Raises:
        UsageError: it has no such part.
    """
    if not isinstance(dataset, Parted):
        message = (
            f"{dataset.id} has no parts, and this task learns on {name!r}. Give a set with "
            "parts, or a table (manifest:, jsonl:) whose rows say their `split`."
        )
        raise UsageError(message)
    return dataset.part(name)
