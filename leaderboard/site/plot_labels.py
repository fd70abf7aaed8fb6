"""Names beside points, placed so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CHARACTER = 6.9
"""Mean width of a character at the plots' font size of 12, pixels."""
_LINE = 13.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A label's place: its text anchor point, and which end of the text is there."""

    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Box:
    """An occupied rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def place(
    points: Sequence[tuple[float, float, str]], *, frame: Box, taken: Sequence[Box] = ()
) -> list[Spot | None]:
    """A spot for each label in turn, or None where all places around its point are taken."""
    occupied = [*taken, *(Box(x - 6, y - 6, x + 6, y + 6) for x, y, _ in points)]
    spots: list[Spot | None] = []
    for x, y, text in points:
        width = len(text) * _CHARACTER
        found = None
        for spot, box in _candidates(x, y, width):
            inside = frame.left <= box.left and box.right <= frame.right
            inside = inside and frame.top <= box.top and box.bottom <= frame.bottom
            if inside and not any(box.meets(other) for other in occupied):
                occupied.append(box)
                found = spot
                break
        spots.append(found)
    return spots


def _candidates(x: float, y: float, width: float) -> list[tuple[Spot, Box]]:
    """Right, left, above, below, then the diagonals."""
    half, gap = width / 2, 9.0
    made = []
    for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
        anchor = {1: "start", -1: "end", 0: "middle"}[dx]
        px, middle = x + dx * gap, y + dy * (15.0 if dx == 0 else 12.0)
        left = {1: px, -1: px - width, 0: px - half}[dx]
        box = Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
        made.append((Spot(px, middle + 4.0, anchor), box))
    return made
