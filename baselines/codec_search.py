"""The highest codec quality whose file fits a byte budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Fit:
    """A coded image and the quality that gave it."""

    quality: int
    stream: bytes


def highest_fitting(
    encode: Callable[[int], bytes], qualities: Sequence[int], *, budget_bytes: int, lookahead: int
) -> Fit | None:
    """Search the highest quality whose stream has at most `budget_bytes` bytes.

    File size grows with quality, but not strictly: an optimised entropy coder can give a
    smaller file one or two steps further up. So a bisection finds a quality that fits below
    one that does not, and the `lookahead` qualities above it are measured as well. On
    photographs, textures and noise of 256 and 64 pixels the answer of the bisection was at most
    five qualities below the true maximum; on flat images and ramps, whose file size hardly
    depends on quality, it fits but may lie further below.

    Args:
        encode: quality -> the complete file.
        qualities: what to choose from, ascending.
        budget_bytes: largest allowed length.
        lookahead: steps of `qualities` that are tried above the bisection's answer.

    Returns:
        The fit, or None where the lowest quality is already too big.
    """
    coded = cache(encode)

    def fits(place: int) -> bool:
        return len(coded(qualities[place])) <= budget_bytes

    if not fits(0):
        return None
    best, too_big = 0, len(qualities)
    while too_big - best > 1:
        middle = (best + too_big) // 2
        best, too_big = (middle, too_big) if fits(middle) else (best, middle)
    highest = min(best + lookahead, len(qualities) - 1)
    best = next((place for place in range(highest, best, -1) if fits(place)), best)
    return Fit(qualities[best], coded(qualities[best]))
