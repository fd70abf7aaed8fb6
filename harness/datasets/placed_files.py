"""The images that a card's `reading` finds in its folder; nothing is decoded here.

Pixels come from the same decoders as `folder:`, `dicom:` and `nifti@MODALITY:`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from . import dicom, nifti
from .card import Card, Reading
from .dataset import Item
from .images import Decoded, Window, decode_file
from .path_globs import files_below, glob_matches

_NUMBER = r"-?\d+(?:\.\d+)?"
_WINDOWING = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\+({_NUMBER}))?")
_PART_OF_FILE = {
    "images": re.compile(r"(?!)"),
    "dicom": re.compile(r"#\d+$"),
    "nifti": re.compile(r"#[a-z]+/\d+$"),
}
"""What the readers append to a file's path to name a frame or a slice."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What lies in the folder of a card: images, and the split of each where paths tell it."""

    folder: Path
    files: int
    items: tuple[Item, ...]
    splits: tuple[str | None, ...]


def reading_of(card: Card) -> Reading:
    """How the card's files are read.

    Raises:
        UsageError: the card states facts only, or does not say one modality.
    """
    if card.reading is None:
        message = f"{card.id}: its card states facts only; no layout is known. {card.how_to_get}"
        raise UsageError(message)
    if len(card.modalities) != 1:
        message = (
            f"{card.id}: its card names {len(card.modalities)} modalities; a `reading` needs one, "
            "because its images are grouped under it"
        )
        raise UsageError(message)
    return card.reading


def folder_of(card: Card, data_root: Path | None) -> Path | None:
    """Where the card's files are looked for; None without a data root."""
    return None if data_root is None else data_root / reading_of(card).folder


def find_images(card: Card, data_root: Path | None) -> Placed:
    """Look into the card's folder.

    Raises:
        MissingPrerequisite: the folder is not there; the message says how to get the set.
        UsageError: it holds no file that the card's globs fit.
    """
    reading = reading_of(card)
    folder = folder_of(card, data_root)
    steps = f"How to get it:\n{card.how_to_get.strip()}"
    if folder is None or not folder.is_dir():
        place = "MEDBENCH_DATA is not set" if folder is None else f"Looked for the folder {folder}"
        message = f"{card.id} is not on this machine. {place}. {steps}"
        raise MissingPrerequisite(message)
    folder = folder.resolve()
    items = _READERS[reading.kind](card, reading, folder)
    if not items:
        message = (
            f"{card.id}: no file in {folder} fits {', '.join(reading.include)} (layout: "
            f"{card.layout}). {steps}"
        )
        raise UsageError(message)
    names = [_PART_OF_FILE[reading.kind].sub("", item.id) for item in items]
    labelled = (
        replace(
            item,
            label=_group(reading.label, name, "label"),
            patient=_group(reading.patient, name, "patient") or item.patient,
        )
        for item, name in zip(items, names, strict=True)
    )
    splits = tuple(_group(reading.split, name, "split") for name in names)
    return Placed(folder, len(set(names)), tuple(labelled), splits)


def _group(expression: str | None, name: str, group: str) -> str | None:
    found = re.search(expression, name) if expression else None
    return found.group(group) if found else None


def _wanted(reading: Reading, name: str) -> bool:
    return glob_matches(name, reading.include) and not glob_matches(name, reading.exclude)


def _images(card: Card, reading: Reading, folder: Path) -> list[Item]:
    window = parse_windowing(card.id, reading.windowing)
    shown = [window.low, window.high, window.bias] if window else None
    return [
        Item(
            id=name,
            group=card.modalities[0],
            load=partial(decode_file, folder / name, window=window),
            content_key=partial(_content_key, folder / name, shown),
        )
        for name in files_below(folder)
        if _wanted(reading, name)
    ]


def _content_key(path: Path, shown: list[float] | None) -> list[Any]:
    return [file_sha256(path), shown]


def parse_windowing(name: str, text: str | None) -> Window | None:
    """`LOW..HIGH` or `LOW..HIGH+BIAS` as a window.

    Raises:
        UsageError: another form, or an empty window.
    """
    if text is None:
        return None
    found = _WINDOWING.fullmatch(text)
    window = Window(*(float(number or 0) for number in found.groups())) if found else Window(0, 0)
    if not window.low < window.high:
        message = f"{name}: windowing {text!r} is not LOW..HIGH or LOW..HIGH+BIAS with LOW < HIGH"
        raise UsageError(message)
    return window


def _dicom(card: Card, reading: Reading, folder: Path) -> list[Item]:
    window = _window_option(card, reading)
    dataset = dicom.build(card.id, argument=str(folder), variant=window)
    return _chosen(card, reading, dataset.items())


def _nifti(card: Card, reading: Reading, folder: Path) -> list[Item]:
    variant = ",".join(each for each in (card.modalities[0], _window_option(card, reading)) if each)
    dataset = nifti.build(card.id, argument=str(folder), variant=variant)
    return _chosen(card, reading, dataset.items())


def _window_option(card: Card, reading: Reading) -> str:
    window = parse_windowing(card.id, reading.windowing)
    if window is not None and window.bias:
        message = f"{card.id}: {reading.kind} files carry their own rescaling; leave out the bias"
        raise UsageError(message)
    # The readers' own rule for CT also refuses values that are no Hounsfield units.
    own_rule = card.modalities == ["ct"] and window == nifti.CT_WINDOW
    return "" if own_rule else reading.windowing or ""


def _chosen(card: Card, reading: Reading, items: Sequence[Item]) -> list[Item]:
    """Items of the files that the globs take; those of another modality fail when loaded."""
    group = card.modalities[0]
    part = _PART_OF_FILE[reading.kind]
    return [
        item
        if item.group == group
        else replace(item, group=group, load=partial(_wrong_modality, card.id, item, group))
        for item in items
        if _wanted(reading, part.sub("", item.id))
    ]


def _wrong_modality(name: str, item: Item, group: str) -> Decoded:
    item.load()  # a file that cannot be read at all says so itself
    message = f"{name}: {item.id}: the file says {item.group}, the card says {group}"
    raise UsageError(message)


_READERS = {"images": _images, "dicom": _dicom, "nifti": _nifti}
