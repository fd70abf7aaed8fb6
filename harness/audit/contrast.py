"""Local contrast: what is left of a picture when brightness and illumination are taken out.

Two photographs of one organ share their layout (the round field of view, the dark ground, the
shading), so that plain correlation of their pixels is high. Each pixel is therefore compared
with its surroundings and divided by the contrast there: every textured place counts alike, and
a strong border no more than others.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE = 64
"""Pixels a side at which two pictures are correlated, aspect not kept."""

SIGMA = 2.0
"""Of the Gaussian that defines a pixel's surroundings, in pixels of the grid."""

NOISE_FLOOR = 4.0
"""Grey levels added to the local contrast: four times what JPEG of quality 60 leaves at 64 pixels
(about one level), so that compression noise on an empty ground stays small."""

FLAT_BELOW = 1.5
"""Grey levels. A picture whose fine detail (standard deviation of luma less its surroundings) is
smaller has hardly more signal than the one level of noise of a recompressed copy: the two could
not correlate reliably, and it is not compared beyond equality."""


TILES = 8
"""Tiles a side of the board on which agreement is judged place by place."""

TEXTURED = 0.3
"""Root mean square of local contrast from which a tile is compared: detail of about 1.7 grey
levels over the floor of four, again above the noise of a recompressed copy."""

FEWEST_TILES = 8
"""Of 64. A picture with fewer textured tiles is too flat: their lower quartile says nothing."""


def luma_grid(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (64, 64) in 0..255: Rec. 601 luma, antialiased bilinear."""
    grey = Image.fromarray(rgb).convert("L").convert("F")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)


def halve(grid: np.ndarray) -> np.ndarray:
    """(2n, 2n) -> (n, n) by means of 2x2 pixels."""
    side = grid.shape[0] // 2
    return grid.reshape(side, 2, side, 2).mean(axis=(1, 3))


def fine_detail(grid: np.ndarray) -> float:
    """Standard deviation of luma less its surroundings, in grey levels."""
    return float((grid - gaussian_filter(grid, SIGMA)).std())


def local_contrast(grid: np.ndarray) -> np.ndarray:
    """float32 (n, n) luma -> float32 (n, n): (value - local mean) / (local deviation + floor)."""
    residual = grid - gaussian_filter(grid, SIGMA)
    deviation = np.sqrt(gaussian_filter(residual * residual, SIGMA))
    return (residual / (deviation + NOISE_FLOOR)).astype(np.float32)


def tiles(fields: np.ndarray) -> np.ndarray:
    """(N, n, n) -> (N, 64, n * n / 64): an 8 x 8 board of square tiles."""
    count, side = fields.shape[:2]
    edge = side // TILES
    cut = fields.reshape(count, TILES, edge, TILES, edge)
    return cut.transpose(0, 1, 3, 2, 4).reshape(count, TILES * TILES, edge * edge)


def textured_tiles(field: np.ndarray) -> int:
    """How many tiles of one (n, n) field hold contrast that can be compared."""
    return int((mean_square(tiles(field[None])) >= TEXTURED**2).sum())


def mean_square(cut: np.ndarray) -> np.ndarray:
    """(N, 64, p) tiles -> (N, 64)."""
    return np.einsum("ntp,ntp->nt", cut, cut) / cut.shape[2]
