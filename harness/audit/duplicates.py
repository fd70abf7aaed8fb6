"""Same pictures among scanned images: equal pixels, then near-duplicates in two stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ..progress import track
from .correlation import SCREEN, THRESHOLD, Correlator, screen
from .index import HashIndex, hamming
from .scan import Scanned

RADIUS = 11
"""Bits in which either of two 64-bit hashes may differ: the most that looking up all values
within two bits of each of four bands covers exactly (4 x 2 + 3). Independent hashes come within
11 of 32 expected bits once in 17 million pairs."""

_SCREENED = 16_384
"""Candidate pairs whose kept fields are compared at once."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two images, by row, that show the same picture."""

    first: int
    second: int
    correlation: float | None
    """Of local contrast; None: the pixels are equal."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found and how much was looked at."""

    links: tuple[Link, ...]
    contents: int
    """Images with different pixels."""
    candidates: int
    """Pairs whose hashes were alike."""
    verified: int
    """Pairs that were decoded again."""


def find_duplicates(images: Sequence[Scanned]) -> Search:
    """All pairs that show the same picture, except those of two private images.

    Of several images with equal pixels in one place the first stands for all in near-duplicates.
    """
    groups: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        groups.setdefault(image.signature.sha256, []).append(row)
    links = [
        Link(*pair, None)
        for rows in groups.values()
        if len(rows) > 1
        for pair in _equal_pairs(images, rows)
    ]
    stand_ins = [_stand_in(images, rows) for rows in groups.values()]
    near = _near(images, np.array(stand_ins, dtype=np.int64))
    for link in near.links:
        members = [groups[images[row].signature.sha256] for row in (link.first, link.second)]
        crossed = _crossed_pairs(images, members[0], members[1])
        links.extend(Link(*pair, link.correlation) for pair in crossed)
    links.sort(key=lambda link: (link.first, link.second))
    return Search(tuple(links), len(groups), near.candidates, near.verified)


def _stand_in(images: Sequence[Scanned], rows: Sequence[int]) -> int:
    """The first public image of a group, or the first."""
    return next((row for row in rows if not images[row].entry.place.private), rows[0])


def _first_per_place(images: Sequence[Scanned], rows: Sequence[int]) -> list[int]:
    firsts: dict[object, int] = {}
    for row in rows:
        firsts.setdefault(images[row].entry.place, row)
    return list(firsts.values())


def _equal_pairs(images: Sequence[Scanned], rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First with every other in a place, and the first ones of two places with each other."""
    firsts = _first_per_place(images, rows)
    head = {images[row].entry.place: row for row in firsts}
    inside = ((head[images[row].entry.place], row) for row in rows if row not in firsts)
    for one, other in [*combinations(firsts, 2), *inside]:
        if not (images[one].entry.place.private and images[other].entry.place.private):
            yield one, other


def _crossed_pairs(
    images: Sequence[Scanned], left: Sequence[int], right: Sequence[int]
) -> Iterator[tuple[int, int]]:
    ones, others = (_first_per_place(images, rows) for rows in (left, right))
    for one, other in product(ones, others):
        if not (images[one].entry.place.private and images[other].entry.place.private):
            yield min(one, other), max(one, other)


def _near(images: Sequence[Scanned], rows: np.ndarray) -> Search:
    """Compare images of different pixels; flat ones are left out."""
    rows = np.array([row for row in rows if not images[row].signature.flat], dtype=np.int64)
    is_private = np.array([images[row].entry.place.private for row in rows], dtype=bool)
    public, queries = rows[~is_private], rows
    correlator = Correlator(images)
    links: list[Link] = []
    candidates = verified = 0
    for first, second in _candidates(images, public, queries):
        candidates += len(first)
        alike = screen(images, first, second) >= SCREEN
        pairs = list(zip(first[alike].tolist(), second[alike].tolist(), strict=True))
        verified += len(pairs)
        for one, other in track(pairs, total=len(pairs), label="comparing candidates"):
            value = correlator.correlate(one, other)
            if value >= THRESHOLD:
                links.append(Link(one, other, value))
    return Search(tuple(links), len(rows), candidates, verified)


def _candidates(
    images: Sequence[Scanned], public: np.ndarray, queries: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) of rows, in parts, each pair once; `first` is public."""
    if not len(public):
        return
    luma = _hashes(images, "luma_hash")
    contrast = _hashes(images, "contrast_hash")
    is_public = np.zeros(len(images), dtype=bool)
    is_public[public] = True
    for hashes, already in ((luma, None), (contrast, luma)):
        for found in HashIndex(hashes[public]).search(hashes[queries], RADIUS):
            first, second = public[found.rows], queries[found.queries]
            # Of two public images each finds the other; a private one is only a query.
            kept = (first < second) | ~is_public[second]
            if already is not None:
                kept &= hamming(already[first], already[second]) > RADIUS
            first, second = first[kept], second[kept]
            for start in range(0, len(first), _SCREENED):
                part = slice(start, start + _SCREENED)
                yield first[part], second[part]


def _hashes(images: Sequence[Scanned], which: str) -> np.ndarray:
    return np.array([getattr(image.signature, which) for image in images], dtype=np.uint64)
