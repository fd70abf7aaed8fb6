"""The second stage: decode both images of a candidate pair again and correlate their pixels.

A copy agrees with its original everywhere; two pictures of one layout agree where the layout is
(the rim of a fundus photograph, the edge of the body) and nowhere else. So local contrast is
correlated tile by tile, and the lower quartile of the tiles decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from .contrast import TEXTURED, local_contrast, luma_grid, mean_square, tiles
from .scan import Scanned
from .signature import FIELD_SCALE, FIELD_SIDE

THRESHOLD = 0.86
"""Smallest agreement of local contrast at 64 pixels that counts as the same picture.

From generated images only (medsynth; `benchmarks/audit.py threshold` prints the numbers again):
it lies midway, on the scale of Fisher's z where correlations spread evenly, between the highest
value of two different pictures of one modality and the lowest of a picture and its copy (JPEG of
quality 60, 50 to 200% of the size, 10% brighter or darker): 0.556 and 0.961 with generator 4."""

SCREEN = 0.6
"""The same on the kept 32-pixel fields, below which a pair is not decoded again. It only saves
time and must lose nothing, so it stands far below the lowest copy there (0.98)."""

_QUARTILE = 0.25
_KEPT = 2048
"""Decoded fields in memory, 16 KB each."""


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Lower quartile of the correlations of the tiles that are textured in either field.

    Args:
        first: float32 (N, n, n) local contrast, n a multiple of 8.
        second: the same shape; row by row compared with `first`.

    Returns:
        float32 (N,), -1..1; -1 where no tile is textured.
    """
    ones, others = tiles(first), tiles(second)
    squares = mean_square(ones), mean_square(others)
    products = np.einsum("ntp,ntp->nt", ones, others) / ones.shape[2]
    values = products / np.sqrt(squares[0] * squares[1]).clip(1e-9)
    textured = np.maximum(*squares) >= TEXTURED**2
    count = textured.sum(axis=1)
    # Tiles that do not count go to the end of the order.
    ordered = np.sort(np.where(textured, values, np.inf), axis=1)
    place = ((count - 1).clip(0) * _QUARTILE).astype(np.int64)
    lower = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    return np.where(count > 0, lower, -1.0).astype(np.float32)


def screen(images: Sequence[Scanned], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Agreement float32 (n,) of the kept fields of pairs of rows."""
    rows, inverse = np.unique(np.stack([first, second]), return_inverse=True)
    places = inverse.reshape(2, -1)
    kept = np.stack([images[row].signature.field for row in rows]).astype(np.float32)
    fields = (kept / FIELD_SCALE).reshape(-1, FIELD_SIDE, FIELD_SIDE)
    return agreement(fields[places[0]], fields[places[1]])


class Correlator:
    """Correlates images by row, decoding each as rarely as memory allows."""

    def __init__(self, images: Sequence[Scanned]) -> None:
        """Keep no pixels; `images` are read again on demand."""
        self._images = images
        self._fields: OrderedDict[int, np.ndarray] = OrderedDict()

    def correlate(self, first: int, second: int) -> float:
        """Agreement -1..1 of two images' local contrast.

        Raises:
            MedbenchError: an image that could be read before cannot be read any more.
        """
        return float(agreement(self._field(first), self._field(second))[0])

    def _field(self, row: int) -> np.ndarray:
        if row in self._fields:
            self._fields.move_to_end(row)
            return self._fields[row]
        field = contrast_field(self._images[row].entry.item.load().rgb)[None]
        self._fields[row] = field
        if len(self._fields) > _KEPT:
            self._fields.popitem(last=False)
        return field


def contrast_field(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (64, 64) local contrast."""
    return local_contrast(luma_grid(rgb))
