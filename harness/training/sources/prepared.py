"""Images that are brought to one side once, and read from the cache ever after.

Pixels lie in the image cache; beside them is kept what CT shows through a window, so that windows
are drawn for prepared images as for others. An image whose own side is the prepared one stays as
it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ...datasets.dataset import Item
from ...datasets.images import Decoded
from ...datasets.store import ImageStore, ingest_items
from ...errors import MedbenchError
from ...exclusive import exclusive
from ...locations import cache_root
from ...on_demand import OnDemand
from ...passing import run_again_if_passing
from ...progress import track
from ...sealed import is_whole, sealed_writer

_VALUES, _NUMBERS = "values.f32", "numbers.i64"
_NONE = -1


@dataclass(frozen=True)
class PreparedItems(OnDemand[Item]):
    """Items that load from the cache, without those that could not be read.

    Attributes:
        items: all, as they were.
        unreadable: places of those that could not be read.
        pixels: file of uint8 (n, side, side, 3), the images in order without the unreadable.
        intensities: folder of what CT shows through a window.
    """

    items: Sequence[Item]
    unreadable: tuple[int, ...]
    pixels: Path
    intensities: Path

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return np.delete(np.arange(len(self.items)), self.unreadable)

    def __getstate__(self) -> dict[str, object]:
        """Without the places, which follow from the rest."""
        return {name: value for name, value in self.__dict__.items() if name != "_places"}

    def __len__(self) -> int:
        return len(self.items) - len(self.unreadable)

    def made(self, place: int) -> Item:
        """The item at a place among those that could be read."""
        load = partial(_load, self.pixels, self.intensities, place)
        return replace(self.items[self._places[place]], load=load)


def prepare(items: Sequence[Item], name: str, side: int) -> PreparedItems:
    """The items of the data set of that name, through the cache, which is filled first.

    Raises:
        UsageError: none can be read, or the cache cannot be written.
    """
    store = ingest_items(items, name, side=side)
    failed = {failure.id for failure in store.failures}
    unreadable = (k for k, item in enumerate(items) if item.id in failed) if failed else ()
    folder = cache_root() / "intensities" / store.path.name
    prepared = PreparedItems(items, tuple(unreadable), store.path / "images.npy", folder)
    if not _is_finished(folder):
        with exclusive(f"intensities-{folder.name}", f"the CT intensities of {name}"):
            if not _is_finished(folder):
                _write(prepared, store, folder)
    return prepared


def _is_finished(folder: Path) -> bool:
    return all(is_whole(folder / name) for name in (_VALUES, _NUMBERS))


def _write(prepared: PreparedItems, store: ImageStore, folder: Path) -> None:
    """`values`: float32 (m, side, side); `numbers`: int64 (n), which of them an image has, or -1.

    Exactly as read: rounded to 16 bits, an image would depend on whether it was prepared.
    """
    side = store.images.shape[1]
    count = 0
    with (
        sealed_writer(folder / _NUMBERS) as numbers,
        sealed_writer(folder / _VALUES) as values,
    ):
        places = track(range(len(prepared)), total=len(prepared), label="reading intensities")
        for row in places:
            item = prepared.items[prepared._places[row]]
            found = _read(item, side) if item.group == "ct" else None
            if found is not None:
                values.write(found.tobytes())
            numbers.write(np.int64(_NONE if found is None else count).tobytes())
            count += found is not None


def _read(item: Item, side: int) -> NDArray[np.float32] | None:
    try:
        values = item.load().intensities
    except MedbenchError as error:  # lost since its pixels were read
        run_again_if_passing(error, item.id)
        return None
    if values is None or values.shape == (side, side):
        return None if values is None else np.ascontiguousarray(values, np.float32)
    image = torch.from_numpy(values.astype(np.float32))[None, None]
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)[0, 0].numpy()


def _load(pixels: Path, intensities: Path, row: int) -> Decoded:
    image = _mapped(pixels)[row]
    number = int(_raw(intensities / _NUMBERS, np.int64)[row])
    if number == _NONE:
        return Decoded(image)
    values = _raw(intensities / _VALUES, np.float32)
    shape = image.shape[:2]
    size = shape[0] * shape[1]
    found = values[number * size : (number + 1) * size].reshape(shape)
    return Decoded(image, intensities=found)


@lru_cache(maxsize=8)
def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.load(path, mmap_mode="r", allow_pickle=False)


@lru_cache(maxsize=16)
def _raw(path: Path, dtype: type[np.generic]) -> NDArray:
    return np.memmap(path, dtype, mode="r").view(np.ndarray)
