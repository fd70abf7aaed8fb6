"""Images of any data set that medbench reads, each once per epoch, in an order of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...datasets.dataset import Item, pick_per_group
from ...datasets.images import Decoded
from ...datasets.long_lists import long_list
from ...errors import MedbenchError, UsageError
from ...locations import data_root
from ...registry import load_dataset
from ..config_terms import read_fields
from .ct_windows import USUAL, draw_window, show
from .official_augment import official
from .pixels import to_square
from .prepared import prepare
from .source import ImageSource, TrainingImage, sample_generator
from .subset import Subset, list_fingerprint


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
        subset: so many of the images, a fixed random part of the list; see `Subset`.
        ct_bias: what CT images of more than 8 bits in a table hold beside Hounsfield units, where
            their rows do not say (upstream's tables: 1024); 0 takes CT as ordinary images.
    """

    kind: Literal["dataset"]
    dataset: str
    augmentation: Literal["official", "none"] = "official"
    caption: Literal["caption", "modality", "none"] = "none"
    prepared: int | None = None
    limit: int | None = None
    subset: int | None = None
    ct_bias: float = 0.0


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
        UsageError: no captions where they are asked for.
    """

    def __init__(self, items: Sequence[Item], terms: DatasetTerms, *, seed: int) -> None:
        if terms.caption == "caption" and not any(item.caption for item in items):
            message = f"{terms.dataset} has no captions; `caption: modality` makes plain ones"
            raise UsageError(message)
        self._items = items
        self._terms = terms
        self._seed = seed
        self._orders: dict[int, NDArray[np.uint32]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the orders, which follow from the seed."""
        return self.__dict__ | {"_orders": {}}

    @property
    def size(self) -> int:
        """Number of images in the list."""
        return len(self._items)

    @property
    def fingerprint(self) -> str:
        """Of the list; see `ImageSource` and `list_fingerprint`."""
        return list_fingerprint(self._items)

    def sample(self, position: int, side: int) -> TrainingImage:
        """The image at a position; see `ImageSource`."""
        epoch, place = divmod(position, len(self._items))
        order = self._order(epoch)
        problems: list[str] = []
        for further in range(min(_STAND_INS, len(order))):
            item = self._items[int(order[(place + further) % len(order)])]
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

    def _order(self, epoch: int) -> NDArray[np.uint32]:
        if epoch not in self._orders:
            order = np.random.default_rng([self._seed, epoch, 1]).permutation(len(self._items))
            # With the one before, since batches reach over the end of an epoch.
            self._orders = dict(list(self._orders.items())[-1:])
            self._orders[epoch] = order.astype(np.uint32)
        return self._orders[epoch]

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


def build_listed(terms: Mapping[str, Any], *, seed: int, where: str) -> ListedSource:
    """The source of `kind: dataset`; see `build_source`."""
    read = read_fields(DatasetTerms, terms, where)
    return ListedSource(_items(read), read, seed=seed)


def require_epoch(source: ImageSource, epoch_images: int | None) -> None:
    """Refuse a list that is not as long as the epochs in which a stage's lengths are given.

    Published numbers of images are rounded: one in a hundred more or fewer is taken.

    Raises:
        UsageError: it is not.
    """
    if epoch_images is None or not isinstance(source, ListedSource):
        return
    if abs(source.size - epoch_images) > epoch_images / 100:
        message = (
            f"data.source has {source.size:,} images, and data.epoch_images says that an epoch has "
            f"{epoch_images:,}. Put the number of images there; where the list is longer, "
            f"`subset: {epoch_images}` under data.source takes as many of it."
        )
        raise UsageError(message)


def _items(terms: DatasetTerms) -> Sequence[Item]:
    root = data_root()
    items = long_list(terms.dataset, data_root=root, ct_bias=terms.ct_bias)
    if items is not None:
        items = items if terms.limit is None else pick_per_group(items, terms.limit)
    elif terms.ct_bias:
        message = f"ct_bias is for tables of image files (manifest:, jsonl:), not {terms.dataset}"
        raise UsageError(message)
    else:
        items = load_dataset(terms.dataset, data_root=root).items(terms.limit)
    if not items:
        message = f"{terms.dataset} has no images"
        raise UsageError(message)
    if terms.subset is not None:
        items = Subset(items, terms.subset)
    return items if terms.prepared is None else prepare(items, terms.dataset, terms.prepared)
