"""Sets that the user places in the data root, read as `reading` in their cards says.

`chestx-det` is the whole set, `chestx-det@test` one of its splits where the paths tell them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MedbenchError, MissingPrerequisite, UsageError
from ..progress import track
from .card import Card, packaged_card
from .dataset import Item, pick_per_group
from .parts import written_part
from .placed_files import Placed, find_images, folder_of
from .store import Failure


@dataclass(frozen=True, slots=True)
class PlacedDataset:
    """The images of one set, or of one of its splits."""

    id: str
    card: Card
    split: str
    found: tuple[Item, ...]
    base: Card
    """Of the whole set."""
    data_root: Path | None = None

    def part(self, name: str) -> PlacedDataset:
        """Another of the splits that the paths tell.

        Raises:
            UsageError: they tell none of that name.
        """
        placed = find_images(self.base, self.data_root)
        known = {split for split in placed.splits if split is not None}
        word = written_part(name, known, where=f"{self.base.id} in {placed.folder}")
        return read_placed(self.base, word, self.data_root)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Images in the order of their relative paths."""
        return pick_per_group(self.found, limit)


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> PlacedDataset:
    """Make the dataset of a packaged card that has a `reading`: `NAME` or `NAME@SPLIT`.

    Raises:
        MissingPrerequisite: its folder is not there; the message says how to get the set.
        UsageError: a path or an unknown split was given, or the folder holds no such file.
    """
    if argument:
        message = f"{reference}: takes no path; the set is found in the data root"
        raise UsageError(message)
    return read_placed(packaged_card(re.split("[@:]", reference)[0]), variant, data_root)


def read_placed(card: Card, split: str, data_root: Path | None) -> PlacedDataset:
    """The dataset of any card with a `reading`; an empty `split` takes all images.

    Found counts that differ from the owners' or the listed ones join the card's known problems.
    """
    if split and (card.reading is None or card.reading.split is None):
        message = f"{card.id}@{split}: paths of this set tell no splits; use {card.id}"
        raise UsageError(message)
    placed = find_images(card, data_root)
    known = sorted({each for each in placed.splits if each is not None})
    if split and split not in known:
        message = f"{card.id}: no split {split!r} in {placed.folder}; found: {', '.join(known)}"
        raise UsageError(message)
    pairs = zip(placed.items, placed.splits, strict=True)
    chosen = tuple(item for item, of in pairs if not split or of == split)
    problems = [*count_differences(card, placed, split=split or None), *card.known_problems]
    name = f"{card.id}@{split}" if split else card.id
    own_card = card.model_copy(update={"id": name, "known_problems": problems})
    return PlacedDataset(name, own_card, split or "all", chosen, card, data_root)


def count_differences(card: Card, placed: Placed, *, split: str | None = None) -> list[str]:
    """Sentences on counts that are not the owners', or not the first listed one."""
    counts = Counter(placed.splits)
    if split is not None:
        return _difference(counts[split], card.splits.get(split), f"the owners' {split} part")
    differences = []
    if card.reading is not None and card.reading.split:
        for name, count in card.splits.items():
            differences += _difference(counts[name], count, f"the owners' {name} part")
    else:
        differences += _difference(len(placed.items), _total(card.splits), "the owners' set")
    row = next((row for row in card.listed if row.count is not None), None)
    if row is not None:
        differences += _difference(len(placed.items), row.count, f"{row.table} ({row.name})")
    return differences


def _difference(found: int, count: int | None, where: str) -> list[str]:
    if count is None or found == count:
        return []
    if found < count:
        return [f"found {found:,} of {count:,} images of {where}"]
    return [f"found {found:,} images where {where} has {count:,}"]


def _total(splits: Mapping[str, int | None]) -> int | None:
    known = [count for count in splits.values() if count is not None]
    return sum(known) if known and len(known) == len(splits) else None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data root holds of one card's set."""

    id: str
    folder: Path | None
    """Where it was looked for; None without a data root."""
    files: int
    """That the card's globs take; 0: the folder is absent or holds none of them."""
    images: int
    """Files, or their frames or slices."""
    expected: int | None
    """Images by the owners' splits, else by the first listed row; None where nobody says."""
    differences: tuple[str, ...]
    """Counts that are not as expected, in words."""
    unreadable: tuple[Failure, ...]
    """Images that cannot be decoded; empty where decoding was not asked for."""
    problem: str | None = None
    """Why nothing was found."""

    @property
    def missing(self) -> int | None:
        """Expected images that are not there; None where the number is unknown."""
        return None if self.expected is None else max(0, self.expected - self.images)


def survey(card: Card, data_root: Path | None, *, decode: bool = True) -> Survey:
    """Find the card's files and, unless told otherwise, decode every image once.

    Raises:
        UsageError: the card has no `reading`.
    """
    expected = _total(card.splits)
    if expected is None:
        expected = next((row.count for row in card.listed if row.count is not None), None)
    folder = folder_of(card, data_root)
    try:
        placed = find_images(card, data_root)
    except (MissingPrerequisite, UsageError) as error:
        return Survey(card.id, folder, 0, 0, expected, (), (), str(error))
    damaged = []
    if decode:
        label = f"decoding {card.id}"
        for item in track(placed.items, total=len(placed.items), label=label):
            try:
                item.load()
            except MedbenchError as error:
                damaged.append(Failure(item.id, str(error)))
    differences = tuple(count_differences(card, placed))
    found = len(placed.items)
    return Survey(
        card.id, placed.folder, placed.files, found, expected, differences, tuple(damaged)
    )
