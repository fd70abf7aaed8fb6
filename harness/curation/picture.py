"""A slice or image on its way through the filters, and its PNG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.images import FORMATS, LARGEST_FILE_BYTES, MOST_PIXELS, Window
from ..documents import read_file
from ..errors import UsageError

THUMBNAIL_PIXELS = 96
CT_BIAS = 1024
"""PNG value = Hounsfield units + bias."""


@dataclass(frozen=True, slots=True)
class Mask:
    """One connected component of one class, in the image it belongs to."""

    label: int
    """Value in the owner's mask."""
    instance: int
    """Components of a class are counted from 0 in reading order."""
    pixels: np.ndarray
    """bool (H, W)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What would be stored, and how it is shown."""

    pixels: np.ndarray
    """uint8 (H, W) or (H, W, 3); or int16 (H, W) in Hounsfield units."""
    plane: str | None = None
    index: int | None = None
    window: Window | None = None
    """Of Hounsfield units (without bias): what shows them in 8 bits."""
    reason: str | None = None
    """Why the rule of the volume rejects it."""
    detail: str | None = None
    masks: tuple[Mask, ...] = ()
    masks_dropped: int = 0
    """Components too small to keep."""

    def shown(self) -> np.ndarray:
        """uint8 (H, W) or (H, W, 3)."""
        return self.pixels if self.window is None else self.window.apply(self.pixels)


def read_values(path: Path) -> np.ndarray:
    """The stored values of an image file, of any depth: (H, W) or (H, W, channels).

    Raises:
        UsageError: unreadable, truncated or absurdly large.
    """
    try:
        data = read_file(path, LARGEST_FILE_BYTES)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if math.prod(image.size) > MOST_PIXELS:
                message = f"{image.size[0]}x{image.size[1]} pixels; at most {MOST_PIXELS:,}"
                raise ValueError(message)
            return np.asarray(image)
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        message = f"{path}: cannot be decoded ({error}). Truncated or damaged: replace the file."
        raise UsageError(message) from error


def grey_where_equal(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> (H, W) where the three channels are the same everywhere."""
    same = (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all()
    return np.ascontiguousarray(rgb[..., 0]) if same else rgb


def png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 values, or of int16 Hounsfield units in 16 bits with the bias added."""
    if pixels.dtype == np.int16:
        pixels = (pixels.astype(np.int32) + CT_BIAS).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def thumbnail(shown: np.ndarray) -> bytes:
    """PNG of at most 96 pixels a side, aspect kept."""
    image = Image.fromarray(shown)
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
