"""Images of samples: those that diversity and the sheets need again are decoded only once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...harness.shards import SHARD_IMAGES, read_arrays, write_arrays
from .tokens import decode_codes

if TYPE_CHECKING:
    from ...harness.task import Cell


class Decoded:
    """The images of one sampling seed; the first of them lie beside the record until it is written.

    Args:
        cell: whose tokenizer decodes.
        codes: unsigned integers (n, K, L).
        folder: of the seed's shards, and of all else that is made of these codes.
        kept: how many images are kept, from the first on.
    """

    def __init__(self, cell: Cell, codes: np.ndarray, folder: Path, kept: int) -> None:
        self._cell, self._codes, self.folder, self._kept = cell, codes, folder, kept

    def shard(self, start: int, stop: int) -> np.ndarray:
        """Decode a shard, uint8 (n, H, W, 3), and keep what is to be kept of it."""
        images = decode_codes(self._cell, self._codes[start:stop])
        if start < self._kept:
            write_arrays(self._path(start), {"images": images[: self._kept - start]})
        return images

    def at(self, places: np.ndarray) -> np.ndarray:
        """Images (n, H, W, 3) of the samples at those places, in that order."""
        found: dict[int, np.ndarray] = {}
        for start in sorted({int(place) // SHARD_IMAGES * SHARD_IMAGES for place in places}):
            arrays = read_arrays(self._path(start))
            if arrays is not None:
                found.update(enumerate(arrays["images"], start))
        if all(int(place) in found for place in places):
            return np.stack([found[int(place)] for place in places])
        return decode_codes(self._cell, self._codes[places])

    def _path(self, start: int) -> Path:
        return self.folder / f"images-{start // SHARD_IMAGES:05d}.npz"
