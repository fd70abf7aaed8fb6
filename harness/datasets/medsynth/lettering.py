"""Text burnt into images: a small bitmap alphabet of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.transform import resize

if TYPE_CHECKING:
    from .canvas import Canvas, Field

# Seven rows of five dots per glyph, one hexadecimal pair per row, highest of five bits leftmost.
_GLYPHS = {
    "A": "0E11111F111111", "C": "0E11101010110E", "D": "1E11111111111E", "E": "1F10101E10101F",
    "G": "0E11101711110F", "I": "0E04040404040E", "L": "1010101010101F", "M": "111B1515111111",
    "N": "11191513111111", "O": "0E11111111110E", "P": "1E11111E101010", "Q": "0E11111115120D",
    "R": "1E11111E141211", "S": "0F10100E01011E", "T": "1F040404040404", "U": "1111111111110E",
    "X": "11110A040A1111", "B": "1E11111E11111E", "m": "00001A15151515", "0": "0E11131519110E",
    "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E", "4": "02060A121F0202",
    "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808", "8": "0E11110E11110E",
    "9": "0E11110F01020C", "/": "01010204081010", ":": "00040400040400", ".": "00000000000C0C",
    "-": "0000001F000000", "+": "0004041F040400", " ": "00000000000000", "V": "111111110A0A04",
}  # fmt: skip


def write(canvas: Canvas, text: str, x: float, y: float, *, height: float) -> Field:
    """Coverage of `text` with its upper left corner at (x, y).

    Args:
        canvas: where to draw.
        text: characters of the alphabet above; others are refused with KeyError.
        x: left edge, fraction of the image side.
        y: upper edge.
        height: letter height, fraction of the image side.
    """
    rows = [
        "".join(f"{int(_GLYPHS[letter][2 * row : 2 * row + 2], 16):05b}0" for letter in text)
        for row in range(7)
    ]
    dots = np.array([[int(dot) for dot in row] for row in rows], np.float32)
    scale = height * canvas.size / 7
    shape = (round(dots.shape[0] * scale), round(dots.shape[1] * scale))
    stamp = np.asarray(resize(dots, shape, order=1, anti_aliasing=scale < 1))
    out = canvas.zeros()
    top, left = round(y * canvas.size), round(x * canvas.size)
    bottom, right = min(canvas.size, top + shape[0]), min(canvas.size, left + shape[1])
    out[top:bottom, left:right] = stamp[: max(0, bottom - top), : max(0, right - left)]
    return np.clip(out, 0.0, 1.0)


def date_block(canvas: Canvas, x: float, y: float, *, lines: int, height: float) -> Field:
    """A column of random digits, as devices burn date, time and settings into the frame."""
    out = canvas.zeros()
    digits = canvas.rng.integers(0, 10, (lines, 8))
    for line in range(lines):
        numbers = "".join(str(digit) for digit in digits[line])
        text = f"{numbers[:2]}/{numbers[2:6]}" if line % 2 == 0 else f"{numbers[:2]}:{numbers[2:4]}"
        out = np.maximum(out, write(canvas, text, x, y + line * height * 1.6, height=height))
    return out
