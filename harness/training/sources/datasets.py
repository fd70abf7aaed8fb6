"""Images of any data set that medbench reads, each once per epoch, in an order of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...datasets.dataset import Dataset, Item
from ...datasets.images import Decoded
from ...datasets.store import ingest
from ...errors import MedbenchError, UsageError
from ...locations import data_root
from ...registry import load_dataset
from ..config_terms import read_fields
from .ct_windows import USUAL, draw_window, show
from .official_augment import official
from .pixels import to_square
from .source import TrainingImage, list_fingerprint, sample_generator


@dataclass(frozen=True, slots=True)
class DatasetTerms:
    """Which data set, and what is done to its images.

    Attributes:
        kind: names this form.
        dataset: a reference such as `medsynth@train`, `folder:PATH` or `manifest@train:FILE`.
        augmentation: MedITok's own, or none: the whole image, whatever its aspect.
        caption: what is paired with an image: its caption, a phrase with its modality, or nothing.
        prepared: side to which the images are brought once and kept in the cache, for what is
            slow to read or to make; None reads each one anew, at its full size and depth.
        limit: at most so many images per modality.
    """

    kind: Literal["dataset"]
    dataset: str
    augmentation: Literal["official", "none"] = "official"
    caption: Literal["caption", "modality", "none"] = "none"
    prepared: int | None = None
    limit: int | None = None


_STAND_INS = 20
"""Images that are tried in the place of one that cannot be read."""


class ListedSource:
    """Images of a list in a new random order each epoch.

    An image that cannot be used is replaced by the next one of the order, and told of.

    Args:
        items: of a data set.
        terms: what is done to them.
        seed: of the order and of every draw.

    Raises:
        UsageError: no images, or no captions where they are asked for.
    """

    def __init__(self, items: Sequence[Item], terms: DatasetTerms, *, seed: int) -> None:
        if not items:
            message = f"{terms.dataset} has no images"
            raise UsageError(message)
        if terms.caption == "caption" and not any(item.caption for item in items):
            message = f"{terms.dataset} has no captions; `caption: modality` makes plain ones"
            raise UsageError(message)
        self._items = items
        self._terms = terms
        self._seed = seed

    @property
    def size(self) -> int:
        """Number of images in the list."""
        return len(self._items)

    @property
    def fingerprint(self) -> str:
        """Of the images' identifiers; see `ImageSource`."""
        return list_fingerprint(item.id for item in self._items)

    def sample(self, position: int, side: int) -> TrainingImage:
        """The image at a position; see `ImageSource`."""
        epoch, place = divmod(position, len(self._items))
        order = _order(self._seed, epoch, len(self._items))
        problems: list[str] = []
        for further in range(min(_STAND_INS, len(order))):
            item = self._items[order[(place + further) % len(order)]]
            try:
                text = self._text(item)
                decoded = item.load()
            except MedbenchError as error:
                problems.append(str(error))
                continue
            image = self._view(item, decoded, side, sample_generator(self._seed, position))
            return TrainingImage(image, text, item.label or "", item.group, tuple(problems))
        message = f"{len(problems)} images one after the other cannot be used: {problems[0]}"
        raise UsageError(message)

    def _text(self, item: Item) -> str:
        if self._terms.caption == "none":
            return ""
        if self._terms.caption == "modality":
            return f"A {item.group} image"
        if not item.caption:
            message = f"{self._terms.dataset}: {item.id} has no caption"
            raise UsageError(message)
        return item.caption

    def _view(
        self, item: Item, decoded: Decoded, side: int, generator: torch.Generator
    ) -> torch.Tensor:
        drawn = self._terms.augmentation == "official"
        pixels: NDArray[Any] = decoded.rgb
        if item.group == "ct" and decoded.intensities is not None:
            window = draw_window(generator) if drawn else USUAL
            pixels = show(decoded.intensities, window)
        return official(pixels, side, generator) if drawn else to_square(pixels, side)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, 1]).permutation(size)


def build_listed(terms: Mapping[str, Any], *, seed: int, where: str) -> ListedSource:
    """The source of `kind: dataset`; see `build_source`."""
    read = read_fields(DatasetTerms, terms, where)
    dataset = load_dataset(read.dataset, data_root=data_root())
    items = dataset.items(read.limit)
    if read.prepared is not None:
        items = _prepared(dataset, items, read.prepared, read.limit)
    return ListedSource(items, read, seed=seed)


def _prepared(dataset: Dataset, items: Sequence[Item], side: int, limit: int | None) -> list[Item]:
    """Items that load from the image cache, which is filled first; without unreadable ones."""
    store = ingest(dataset, limit=limit, side=side)
    path = store.path / "images.npy"
    row_of = {row.id: number for number, row in enumerate(store.rows)}
    return [
        replace(item, load=partial(_stored, path, row_of[item.id]))
        for item in items
        if item.id in row_of
    ]


def _stored(path: Path, row: int) -> Decoded:
    return Decoded(_mapped(path)[row])


@lru_cache(maxsize=8)
def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.load(path, mmap_mode="r", allow_pickle=False)
