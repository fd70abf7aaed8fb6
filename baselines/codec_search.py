"""The highest codec quality whose file fits a byte budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKAHEAD = 6
"""Qualities above the bisection's answer that are tried too."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A coded image and the quality that gave it."""

    quality: int
    stream: bytes


def highest_fitting(
    encode: Callable[[int], bytes], qualities: range, *, budget_bytes: int
) -> Fit | None:
    """Search the highest quality whose stream has at most `budget_bytes` bytes.

    File size grows with quality, but not strictly: an optimised entropy coder can give a
    smaller file one or two steps further up. So a bisection finds a quality that fits below
    one that does not, and the `LOOKAHEAD` qualities above it are measured as well. Measured on
    photographs, textures and noise at 256 and 64 pixels, sizes fell back at most five steps
    up, so the answer is the true maximum there; on flat images, whose file size hardly depends
    on quality, it fits but may lie below the maximum.

    Args:
        encode: quality -> the complete file.
        qualities: allowed qualities, ascending, step 1.
        budget_bytes: largest allowed length.

    Returns:
        The fit, or None where the lowest quality is already too big.
    """
    coded = cache(encode)
    fits, too_big = qualities[0], qualities[-1] + 1
    if len(coded(fits)) > budget_bytes:
        return None
    while too_big - fits > 1:
        middle = (fits + too_big) // 2
        if len(coded(middle)) <= budget_bytes:
            fits = middle
        else:
            too_big = middle
    for quality in range(min(fits + LOOKAHEAD, qualities[-1]), fits, -1):
        if len(coded(quality)) <= budget_bytes:
            return Fit(quality, coded(quality))
    return Fit(fits, coded(fits))
