"""Every set that has a card, and what of it lies on this machine.

Nothing is decoded or hashed here, and large folders are counted only in part: a listing and
`medbench doctor` stay fast. `medbench data verify` looks closely.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from ..errors import UsageError
from ..registry import dataset_entries, unknown
from .card import Card, Download, packaged_cards
from .medmnist_sets import NAMES, SIZES
from .path_globs import glob_matches

State = Literal["embedded", "found", "partly", "not here"]

_MEDMNIST = "medmnist"
"""The folder of all MedMNIST files."""

_LOOKED_AT = 5000
"""Files of one folder that a listing looks at."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What of one set is on this machine, at first sight."""

    state: State
    """`partly`: its folder is there, but files are missing or none is of the set."""
    place: Path | None = None
    """The folder; None where nothing was found."""
    files: int = 0
    """Of the set; a lower bound where `counted` is false."""
    counted: bool = True
    detail: str = ""
    """What is there, or what is missing, in words."""


def known_cards() -> dict[str, Card]:
    """All cards that ship with medbench, by id."""
    return packaged_cards()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A card, and the variant behind the `@` where one was given."""

    card: Card
    variant: str = ""


def choose(reference: str) -> Chosen:
    """The card of `NAME` or `NAME@VARIANT`.

    Raises:
        UsageError: no such card, or a variant that the set has not.
    """
    name, _, variant = reference.partition("@")
    cards = known_cards()
    if name not in cards:
        raise unknown("dataset", name, cards, listing="medbench data list")
    card = cards[name]
    parts = [str(size) for size in SIZES] if is_medmnist(card) else list(card.splits)
    # What follows a dash (a split of a size, a language of a split) is the reader's to judge.
    if variant and variant not in parts and variant.partition("-")[0] not in parts:
        known = ", ".join(f"{name}@{each}" for each in parts)
        message = f"{reference}: {name} has no {variant!r}; known: {known or name}"
        raise UsageError(message)
    return Chosen(card, variant)


def is_medmnist(card: Card) -> bool:
    """Whether the set has one file per size."""
    return card.id in NAMES


def downloads_of(chosen: Chosen) -> list[Download]:
    """The files to fetch for a choice; empty where the owners ask for steps by hand.

    Raises:
        UsageError: a set of several sizes, of which none was chosen.
    """
    card = chosen.card
    if not is_medmnist(card):
        return list(card.downloads)
    size = chosen.variant.partition("-")[0]
    if not size.isdigit():
        known = ", ".join(f"{card.id}@{each}" for each in SIZES)
        message = f"{card.id}: one file per size; say which: {known}"
        raise UsageError(message)
    return [sized_download(card, int(size))]


def sized_download(card: Card, size: int) -> Download:
    """The owners' file of one size; a MedMNIST card names them in the order of the sizes."""
    return card.downloads[SIZES.index(size)]


def folder_name(card: Card) -> str:
    """The folder of a set below the data root: where it is fetched to, and looked for first."""
    return _folder_names(card)[0]


def _folder_names(card: Card) -> tuple[str, ...]:
    """Every folder below the data root that the set's reader looks into."""
    if is_medmnist(card):
        return (_MEDMNIST,)
    if card.reading is not None:
        return (card.reading.folder,)
    return getattr(_reader(card), "PLACES", (card.id,))


def _reader(card: Card) -> ModuleType | None:
    """The module that reads a set in the owners' own layout, where there is one."""
    entry = dataset_entries().get(card.id)
    return importlib.import_module(entry.target.partition(":")[0]) if entry else None


def presence(card: Card, data_root: Path | None) -> Presence:
    """Look for a set without reading it."""
    if card.access == "embedded":
        return Presence("embedded")
    if is_medmnist(card):
        return _medmnist(card, data_root)
    if data_root is None:
        return Presence("not here", detail="MEDBENCH_DATA is not set")
    places = [data_root / name for name in _folder_names(card)]
    folders = [place for place in places if place.is_dir()]
    if not folders:
        return Presence("not here")
    return max((_in_folder(card, each) for each in folders), key=lambda seen: seen.files)


def _medmnist(card: Card, data_root: Path | None) -> Presence:
    roots = [data_root / _MEDMNIST, data_root] if data_root is not None else []
    for root in (*roots, Path.home() / ".medmnist"):
        sizes = [s for s in SIZES if (root / sized_download(card, s).filename).is_file()]
        if sizes:
            detail = "sizes " + ", ".join(map(str, sizes))
            return Presence("found", root, len(sizes), detail=detail)
    return Presence("not here")


def _in_folder(card: Card, folder: Path) -> Presence:
    downloads = [each.filename for each in card.downloads if (folder / each.filename).is_file()]
    seen = matched = 0
    for name in _files(folder):
        seen += 1
        if card.reading is None or _taken(card, name):
            matched += 1
        if seen >= _LOOKED_AT:
            break
    counted = seen < _LOOKED_AT
    if not matched:
        what = f"{', '.join(downloads)} not unpacked" if downloads else "no file of the set"
        return Presence("partly", folder, 0, counted, f"{what} in {folder}")
    total = _total(card)
    by_image = card.reading is not None and card.reading.kind == "images"
    if counted and by_image and total is not None and matched < total:
        return Presence("partly", folder, matched, counted, f"{matched:,} of {total:,} images")
    more = "" if counted else "at least "
    return Presence("found", folder, matched, counted, f"{more}{matched:,} files")


def _taken(card: Card, name: str) -> bool:
    reading = card.reading
    assert reading is not None
    return glob_matches(name, reading.include) and not glob_matches(name, reading.exclude)


def _files(folder: Path) -> Iterator[str]:
    """Relative POSIX paths below a folder in no fixed order; hidden ones are left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(folder)
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


def _total(card: Card) -> int | None:
    known = [count for count in card.splits.values() if count is not None]
    return sum(known) if known and len(known) == len(card.splits) else None


def download_size(card: Card) -> int | None:
    """Bytes of all its files by the card; None where it does not say."""
    if card.size_bytes is not None:
        return card.size_bytes
    sizes = [each.size_bytes for each in card.downloads]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None
