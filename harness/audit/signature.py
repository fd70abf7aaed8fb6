"""What is kept of each image: a hash of its pixels, two perceptual hashes and a small field.

1,100 bytes an image, from which no picture can be shown: the field is local contrast at 32 pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn

from .contrast import (
    FEWEST_TILES,
    FLAT_BELOW,
    fine_detail,
    halve,
    local_contrast,
    luma_grid,
    textured_tiles,
)

RULE = "sha256-pixels+dct64-luma+dct64-contrast+field32-1"
"""Names how signatures are made; bump when any of their values may change."""

FIELD_SIDE = 32
FIELD_SCALE = 40.0
"""Local contrast of 3.2 becomes 128; more is clipped."""

_BITS = 64


def _lowest_frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the 64 lowest spatial frequencies without the mean."""
    order = sorted(
        ((row + column, row, column) for row in range(12) for column in range(12)),
    )[1 : _BITS + 1]
    return np.array([each[1] for each in order]), np.array([each[2] for each in order])


_ROWS, _COLUMNS = _lowest_frequencies()


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies one image.

    Attributes:
        sha256: hex, of width, height and decoded RGB pixels.
        luma_hash: 64-bit DCT hash of luma.
        contrast_hash: 64-bit DCT hash of local contrast, steady where shading rules the luma.
        field: int8 (1024,): local contrast at 32x32 times 40, for a first comparison.
        detail: standard deviation of the fine detail, in grey levels.
        textured: tiles of 64 with contrast that can be compared.
        width: of the image, in pixels.
        height: of the image, in pixels.
    """

    sha256: str
    luma_hash: int
    contrast_hash: int
    field: np.ndarray
    detail: float
    textured: int
    width: int
    height: int

    @property
    def flat(self) -> bool:
        """Whether there is too little detail for anything but equality."""
        return self.detail < FLAT_BELOW or self.textured < FEWEST_TILES


def pixels_sha256(rgb: np.ndarray) -> str:
    """SHA-256 (hex) of an image's size and its uint8 (H, W, 3) pixels, whatever file held them."""
    digest = hashlib.sha256(f"{rgb.shape[1]}x{rgb.shape[0]}:".encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def dct_hash(values: np.ndarray) -> int:
    """64 bits of a (32, 32) array: which of its lowest frequencies exceed their median.

    The hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
    (2010), section 3.2.1, on the 64 frequencies of smallest row + column instead of a square.
    """
    coefficients = np.asarray(dctn(values, norm="ortho"))[_ROWS, _COLUMNS]
    bits = np.packbits(coefficients > np.median(coefficients))
    return int.from_bytes(bits.tobytes(), "big")


def sign(rgb: np.ndarray) -> Signature:
    """The signature of a uint8 (H, W, 3) image."""
    grid = luma_grid(rgb)
    small = halve(grid)
    contrast = local_contrast(small)
    return Signature(
        sha256=pixels_sha256(rgb),
        luma_hash=dct_hash(small),
        contrast_hash=dct_hash(contrast),
        field=np.rint(contrast.ravel() * FIELD_SCALE).clip(-127, 127).astype(np.int8),
        detail=fine_detail(grid),
        textured=textured_tiles(local_contrast(grid)),
        width=int(rgb.shape[1]),
        height=int(rgb.shape[0]),
    )
