"""`npz@MODALITY:FILE`, `npz@MODALITY-SPLIT:FILE`: arrays in the layout of the MedMNIST files.

A file holds `{train,val,test}_images`, uint8 (N, H, W) or (N, H, W, 3), and the `_labels` of the
same splits, integers (N,), (N, 1) or, of several findings that are 0 or 1, (N, K). Any counts,
any size, and splits may be absent. What the labels mean is not in the file: they are named `0`,
`1` and so on. MedMNIST's own files are read by the same code, with their owners' facts added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from .card import Card
from .dataset import Item, pick_per_group
from .folder import check_modalities, find_path
from .images import MINIMUM_SIDE, Decoded, grey_to_rgb
from .labels import SEPARATOR
from .npz_member import ArrayFacts, array_facts, open_member

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """The arrays of one split, whose images and labels are known to fit."""

    rows: int
    label_width: int
    image_shape: tuple[int, ...]
    """(H, W) or (H, W, 3)."""


@dataclass(frozen=True, slots=True)
class NpzDataset:
    """One split of one file.

    Attributes:
        label_names: class names by index (of a multi-label set, the findings); None where nobody
            names them.
    """

    id: str
    card: Card
    split: str
    path: Path
    label_names: tuple[str, ...] | None
    multi_label: bool

    def part(self, name: str) -> NpzDataset:
        """Another split of the same file.

        Raises:
            UsageError: the file has no such split.
        """
        layout = read_layout(self.path)
        if name not in layout:
            message = f"{self.path} has no {name} split; found: {', '.join(layout)}"
            raise UsageError(message)
        stem = self.id.removesuffix(f"-{self.split}")
        identifier = stem if name == "test" else f"{stem}-{name}"
        return replace(self, id=identifier, split=name)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Rows in the file's order.

        A multi-label row is labelled with its findings joined by `|` (no finding: empty). A row
        whose label is out of range, or whose image is all zero, fails when it is loaded.

        Raises:
            UsageError: the arrays are damaged.
        """
        labels = open_member(self.path, f"{self.split}_labels")
        rows = labels.reshape(len(labels), -1).tolist()
        items = [self._item(row, values) for row, values in enumerate(rows)]
        return pick_per_group(items, limit)

    def _item(self, row: int, values: list[int]) -> Item:
        text = self._label(values)
        problem = None
        if text is None:
            problem = f"{self._where(row)}: label {values} is outside {self._range()}"
        return Item(
            id=f"{self.split}/{row:06d}",
            group=self.card.modalities[0],
            load=partial(self._load, row, problem),
            content_key=partial(self._content_key, row),
            label=text,
        )

    def _where(self, row: int) -> str:
        return f"{self.path}: {self.split} row {row}"

    def _range(self) -> str:
        if self.multi_label:
            return "0..1"
        return f"0..{len(self.label_names) - 1}" if self.label_names else "0 and above"

    def _label(self, values: list[int]) -> str | None:
        """The row's label in words; None where it is no legal label."""
        names = self.label_names
        if self.multi_label:
            if any(value not in (0, 1) for value in values):
                return None
            shown = names or [str(index) for index in range(len(values))]
            return SEPARATOR.join(name for name, value in zip(shown, values, strict=True) if value)
        (value,) = values
        if value < 0 or (names is not None and value >= len(names)):
            return None
        return names[value] if names is not None else str(value)

    def _load(self, row: int, problem: str | None) -> Decoded:
        if problem is not None:
            raise UsageError(problem)
        image = np.array(open_member(self.path, f"{self.split}_images")[row])
        if not image.any():
            message = f"{self._where(row)}: the image is all zero. Fetch it again."
            raise UsageError(message)
        return Decoded(image if image.ndim == 3 else grey_to_rgb(image))

    def _content_key(self, row: int) -> list[Any]:
        return [file_sha256(self.path), self.split, row]


def read_layout(path: Path) -> dict[str, SplitFacts]:
    """The splits that a file holds, from the headers of its arrays.

    Raises:
        UsageError: truncated, an array without its partner, images and labels of different
            counts, images that are not uint8, labels that are not integers, or no split at all.
    """
    arrays = array_facts(path)
    found = {}
    for split in SPLITS:
        names = [f"{split}_images", f"{split}_labels"]
        absent = [name for name in names if name not in arrays]
        if len(absent) == 2:
            continue
        if absent:
            message = f"{path}: no array {absent[0]!r}; found {', '.join(arrays)}"
            raise UsageError(message)
        found[split] = _split_facts(path, split, *(arrays[name] for name in names))
    if not found:
        message = (
            f"{path}: no array named as in MedMNIST files (train_images, train_labels, …); "
            f"found {', '.join(arrays) or 'none'}"
        )
        raise UsageError(message)
    return found


def _split_facts(path: Path, split: str, images: ArrayFacts, labels: ArrayFacts) -> SplitFacts:
    grey_or_colour = len(images.shape) == 3 or images.shape[3:] == (3,)
    large_enough = min(images.shape[1:3], default=0) >= MINIMUM_SIDE
    if images.dtype != np.uint8 or not (grey_or_colour and large_enough):
        message = (
            f"{path}: {split}_images is {images.dtype} {images.shape}; expected uint8 (N, H, W) "
            f"or (N, H, W, 3) of at least {MINIMUM_SIDE} pixels a side"
        )
        raise UsageError(message)
    if labels.dtype.kind not in "ui" or len(labels.shape) not in (1, 2) or 0 in labels.shape[1:]:
        message = (
            f"{path}: {split}_labels is {labels.dtype} {labels.shape}; expected integers (N,), "
            "(N, 1) or (N, K)"
        )
        raise UsageError(message)
    if images.shape[0] != labels.shape[0]:
        message = (
            f"{path}: {split} has {images.shape[0]:,} images and {labels.shape[0]:,} labels; "
            "which belongs to which is unknown. Replace the file."
        )
        raise UsageError(message)
    width = labels.shape[1] if len(labels.shape) == 2 else 1
    return SplitFacts(labels.shape[0], width, images.shape[1:])


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> NpzDataset:
    """Make the dataset of `npz@MODALITY:FILE` (its test split) or `npz@MODALITY-SPLIT:FILE`.

    Raises:
        MissingPrerequisite: no such file.
        UsageError: no modality, an unknown or absent split, or a file of another layout.
    """
    modality, _, split = variant.partition("-")
    split = split or "test"
    if not modality or split not in SPLITS:
        message = (
            f"{reference}: write npz@MODALITY:FILE or npz@MODALITY-SPLIT:FILE, with a split of "
            f"{', '.join(SPLITS)}"
        )
        raise UsageError(message)
    check_modalities([modality], where=reference)
    path = find_path(argument, data_root, what="npz@MODALITY:FILE")
    layout = read_layout(path)
    if split not in layout:
        message = f"{reference}: {path} has no {split} split; found: {', '.join(layout)}"
        raise UsageError(message)
    facts = layout[split]
    name = f"npz@{modality}{'' if split == 'test' else f'-{split}'}:{path.name}"
    height, width = facts.image_shape[:2]
    card = Card.model_validate(
        {
            "id": name,
            "title": f"Arrays in {path.name}",
            "source": "a file on this machine",
            "licence": "unknown",
            "modalities": [modality],
            "native_size": f"{width}x{height}",
            "bit_depth": "8 bits per channel",
            "splits": {each: found.rows for each, found in layout.items()},
            "layout": "verified (array names, shapes and types checked)",
            "how_to_get": "the user's own files",
            "known_problems": [
                "Patients are unknown, so intervals treat images as independent.",
                "What the labels mean is not in the file; they are named by their numbers.",
            ],
        }
    )
    return NpzDataset(name, card, split, path, None, multi_label=facts.label_width > 1)
