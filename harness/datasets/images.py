"""Decode one image file to RGB uint8, or say why not.

Nothing is guessed: what a file does not tell (the window of a 16-bit image) must be given.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ..documents import read_file
from ..errors import UsageError
from ..passing import run_again_if_passing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".gif"})
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "AVIF", "GIF")
"""What these suffixes stand for. Pillow knows forty more, one of which (EPS, under any suffix) is
a program that it hands to Ghostscript."""
LARGEST_FILE_BYTES = 512 << 20
MOST_PIXELS = 1 << 27
"""Of one image: 400 MB as RGB."""
MINIMUM_SIDE = 8
"""Below this an image holds nothing that 256 pixels could show."""

_LARGEST_BYTE = 255
_COUNTED_BYTES = 1 << 20
"""Frames of larger files are not counted: that means walking through all of them."""
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "F"})


@dataclass(frozen=True, slots=True)
class Window:
    """Linear intensity window: `low` becomes 0 and `high` 255, after subtracting `bias`."""

    low: float
    high: float
    bias: float = 0.0

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Any numeric array -> uint8 of the same shape, rounded half to even and clipped."""
        scaled = (values.astype(np.float64) - self.bias - self.low) * (
            255.0 / (self.high - self.low)
        )
        return np.rint(scaled).clip(0, 255).astype(np.uint8)


class Decoded:
    """An image as RGB uint8, and what was done to get there.

    Args:
        pixels: uint8 (H, W, 3), or a Pillow image of mode RGB, which is made an array only where
            one is asked for: a large photograph is mostly wanted small.
        notes: what was done while decoding.
        intensities: float32 (H, W), the values that a window made the pixels of, in their own unit
            (of CT: Hounsfield units); None where the pixels are all that is known.
    """

    __slots__ = ("_pixels", "intensities", "notes")

    def __init__(
        self,
        pixels: np.ndarray | Image.Image,
        notes: tuple[str, ...] = (),
        *,
        intensities: np.ndarray | None = None,
    ) -> None:
        self._pixels = pixels
        self.notes = notes
        self.intensities = intensities

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        return np.asarray(self._pixels)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self._pixels, Image.Image):
            return self._pixels.size
        height, width = self._pixels.shape[:2]
        return width, height

    def square(self, side: int) -> np.ndarray:
        """uint8 (side, side, 3), as `resize_square` makes it."""
        if isinstance(self._pixels, Image.Image) and self.size != (side, side):
            return np.asarray(self._pixels.resize((side, side), Image.Resampling.BILINEAR))
        return resize_square(self.rgb, side)


def decode_file(path: Path, *, window: Window | None = None) -> Decoded:
    """Read one image file; see `decode_bytes`.

    Raises:
        UsageError: as `decode_bytes`, and where the file cannot be read; starts with the path.
        RunAgain: as `decode_bytes`.
    """
    try:
        data = read_file(path, LARGEST_FILE_BYTES)
    except (OSError, ValueError, MemoryError) as error:
        run_again_if_passing(error, path)
        message = f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
        raise UsageError(message) from error
    return decode_bytes(data, name=str(path), window=window)


def decode_bytes(data: bytes, *, name: str, window: Window | None = None) -> Decoded:
    """Decode one image of 8 bits per channel, or of more with a `window`.

    Grey is replicated, palettes are resolved, CMYK is converted, an opaque alpha channel is
    dropped and a transparent one laid over black; all but the first are noted.

    Args:
        data: the file's content.
        name: what messages start with: a path, or `shard.tar!member`.
        window: intensities to show.

    Raises:
        UsageError: no image, truncated, animated, too small, too large or too deep; starts with
            the name.
        RunAgain: the machine failed, such as for lack of memory; starts with the name.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        message = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: damaged images would be scored"
        raise UsageError(message)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(name, image, len(data))
            image.load()
            return _to_rgb(name, image, window)
    except UsageError:
        raise
    except UnidentifiedImageError as error:
        message = f"{name}: {len(data):,} bytes, not an image file that can be read. Replace it."
        raise UsageError(message) from error
    except Image.DecompressionBombError as error:
        message = f"{name}: too many pixels ({error}). Cut the image into tiles or make it smaller."
        raise UsageError(message) from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        run_again_if_passing(error, name)
        message = f"{name}: cannot be decoded ({error}). Truncated or damaged: replace the file."
        raise UsageError(message) from error


def _check_header(name: str, image: Image.Image, held_bytes: int) -> None:
    width, height = image.size
    if min(width, height) < MINIMUM_SIDE:
        message = f"{name}: {width}x{height} pixels; at least {MINIMUM_SIDE} a side are needed"
        raise UsageError(message)
    if width * height > MOST_PIXELS:
        message = (
            f"{name}: too many pixels ({width}x{height}; at most {MOST_PIXELS:,}). Cut the image "
            "into tiles or make it smaller."
        )
        raise UsageError(message)
    if getattr(image, "is_animated", False):
        frames = getattr(image, "n_frames", 0) if held_bytes <= _COUNTED_BYTES else "several"
        message = f"{name}: {frames} frames; one image per file is read"
        raise UsageError(message)


def _to_rgb(name: str, image: Image.Image, window: Window | None) -> Decoded:
    if image.mode in _DEEP_MODES:
        if window is None:
            message = (
                f"{name}: {image.mode!r} has more than 8 bits, and nothing says which intensities "
                "to show. Use manifest:FILE or jsonl:FILE with window_low, window_high (and bias)."
            )
            raise UsageError(message)
        values = np.asarray(image)
        wrong = int(values.size - np.isfinite(values).sum())
        if wrong:
            message = f"{name}: {wrong} of {values.size} pixels are NaN or infinite. Mend the file."
            raise UsageError(message)
        intensities = values.astype(np.float32) - np.float32(window.bias)
        rgb = grey_to_rgb(window.apply(values))
        return Decoded(rgb, ("windowed",), intensities=intensities)
    if window is not None and abs(window.bias) > _LARGEST_BYTE:
        message = (
            f"{name}: 8 bits per channel with a bias of {window.bias:g}, which they cannot hold: "
            "the image would be nearly black. Give the 16-bit file, or leave the bias out."
        )
        raise UsageError(message)
    notes: list[str] = []
    if image.mode == "P":
        notes.append("palette resolved")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        notes.append("one bit per pixel")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append("transparent pixels laid over black")
            ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(ground, image)
        else:
            notes.append("opaque alpha dropped")
    elif image.mode not in {"RGB", "L", "1"}:
        notes.append(f"{image.mode} converted to RGB")
    image = image if image.mode == "RGB" else image.convert("RGB")
    if window is not None:
        return Decoded(window.apply(np.asarray(image)), (*notes, "windowed"))
    return Decoded(image, tuple(notes))


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> uint8 (H, W, 3), the one place where grey is replicated."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def resize_square(rgb: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (side, side, 3): Pillow's bilinear, antialiased, aspect not kept.

    torchvision's antialiased uint8 resize is the same filter in coarser fixed point: equal when
    halving and quartering, else one level apart in less than one value of a hundred.
    """
    if rgb.shape[:2] == (side, side):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """bool (H, W) -> bool (side, side), nearest neighbour."""
    if mask.shape == (side, side):
        return mask
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((side, side), Image.Resampling.NEAREST)) > 127
