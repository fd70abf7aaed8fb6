"""The drawing surface: pixel coordinates, texture generator, blur, sampling and shrinking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from skimage.transform import resize

BASE_SIZE = 256
"""Side in pixels at which textures are drawn, whatever the rendered size."""

Field = np.ndarray
"""Float32 array (n, n), or (n, n, 3) where colour is said."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An n × n surface with its own texture generator.

    Attributes:
        size: n, pixels per side, at least `BASE_SIZE`.
        x: (n, n) horizontal pixel centres, 0 left to 1 right.
        y: (n, n) vertical pixel centres, 0 top to 1 bottom.
        rng: generator of the textures; draws never depend on `size`.
    """

    size: int
    x: Field
    y: Field
    rng: np.random.Generator

    def zeros(self) -> Field:
        """Return an empty field."""
        return np.zeros((self.size, self.size), np.float32)

    def blur(self, image: Field, sigma: float) -> Field:
        """Gaussian blur of the first two axes; `sigma` in pixels of a 256-pixel image."""
        pixels = sigma * self.size / BASE_SIZE
        if pixels < 0.2:
            return image
        sigmas = (pixels, pixels) + (0.0,) * (image.ndim - 2)
        return ndimage.gaussian_filter(image, sigmas, truncate=3.0)

    def sample(self, image: Field, x: Field, y: Field) -> Field:
        """Bilinear values of a 2-D or colour `image` at coordinates in [0, 1], edges extended."""
        last = self.size - 1
        column = np.clip(x * self.size - 0.5, 0, last - 1e-3).astype(np.float32)
        row = np.clip(y * self.size - 0.5, 0, last - 1e-3).astype(np.float32)
        left, top = column.astype(np.int32), row.astype(np.int32)
        right_share, bottom_share = column - np.float32(left), row - np.float32(top)
        if image.ndim == 3:
            right_share, bottom_share = right_share[..., None], bottom_share[..., None]
        upper = image[top, left] * (1 - right_share) + image[top, left + 1] * right_share
        below = top + 1
        lower = image[below, left] * (1 - right_share) + image[below, left + 1] * right_share
        return upper * (1 - bottom_share) + lower * bottom_share


@lru_cache(maxsize=4)
def _coordinates(size: int) -> tuple[Field, Field]:
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x = np.broadcast_to(centres, (size, size)).copy()
    y = np.ascontiguousarray(x.T)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def make_canvas(size: int, rng: np.random.Generator) -> Canvas:
    """Return a canvas of max(size, `BASE_SIZE`) pixels per side."""
    side = max(size, BASE_SIZE)
    x, y = _coordinates(side)
    return Canvas(size=side, x=x, y=y, rng=rng)


def shrink(image: Field, size: int) -> Field:
    """Resize a rendered field to `size` with antialiasing; unchanged where it fits already."""
    if image.shape[0] == size:
        return image
    shape = (size, size, *image.shape[2:])
    return np.asarray(resize(image, shape, order=1, anti_aliasing=True, preserve_range=True))


def shrink_mask(coverage: Field, size: int) -> np.ndarray:
    """Return the boolean mask of a coverage in [0, 1]; a small finding keeps its best pixel."""
    small = shrink(coverage.astype(np.float32), size)
    peak = float(small.max())
    if peak <= 0.0:
        return np.zeros((size, size), bool)
    return small >= min(0.5, peak)
