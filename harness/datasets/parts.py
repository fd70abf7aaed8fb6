"""The other parts of a dataset: from the one that is scored to those that a task learns on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..errors import UsageError
from ..registry import load_dataset
from .dataset import Dataset

WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What tables and folders call the parts."""


@runtime_checkable
class Parted(Protocol):
    """A dataset that knows its other parts."""

    def part(self, name: str) -> Dataset:
        """The part of that name (`train`, `val`, `test`) of the same set.

        Raises:
            UsageError: the set has no such part; says which it has.
        """
        ...


def part_of(dataset: Dataset, name: str, *, data_root: Path | None = None) -> Dataset:
    """Another part of the dataset's set; a name with `@` is the id of another data set.

    Raises:
        UsageError: it has no such part.
        MissingPrerequisite: the other data set is not on this machine.
    """
    if "@" in name:
        return load_dataset(name, data_root=data_root)
    if not isinstance(dataset, Parted):
        message = (
            f"{dataset.id} has no parts, and this task learns on {name!r}. Give a set with "
            "parts, or a table (manifest:, jsonl:) whose rows say their `split`."
        )
        raise UsageError(message)
    return dataset.part(name)


def has_part(dataset: Dataset, name: str) -> bool:
    """Whether the dataset's set has a part of that name."""
    try:
        part_of(dataset, name)
    except UsageError:
        return False
    return True


def check_scored(dataset: Dataset, learnt: Iterable[str], *, task: str) -> None:
    """Refuse a dataset that holds the images of a part which a task learns on.

    Args:
        dataset: the one that is scored.
        learnt: names of its parts that the task learns on.
        task: for the message.

    Raises:
        UsageError: the dataset is the whole set, or one of those parts; says what to name.
    """
    names = list(learnt)
    same = {"all", *(part_of(dataset, name).split for name in names)}
    # A union has the splits of its sets, one after the other.
    if same & set(dataset.split.split(", ")):
        message = (
            f"{dataset.id}: its {dataset.split} images would be scored, and {task} learns on "
            f"{' and '.join(names)}. Name the part to score, such as NAME@test or "
            "manifest@test:FILE."
        )
        raise UsageError(message)


def written_part(name: str, known: Iterable[str], *, where: str) -> str:
    """What a table or folder calls the part: the name itself, or a word for it.

    Args:
        name: `train`, `val`, `test`, or another that is looked for as it is.
        known: the words that occur.
        where: the table or folder, for the message.

    Raises:
        UsageError: none of them.
    """
    words = list(known)
    by_lower = {word.lower(): word for word in words}
    for word in (name, *WORDS.get(name, ())):
        if word in words or word.lower() in by_lower:
            return word if word in words else by_lower[word.lower()]
    message = f"{where}: no part {name!r}; found: {', '.join(sorted(words)) or 'none'}"
    raise UsageError(message)
