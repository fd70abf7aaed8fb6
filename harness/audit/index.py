"""All pairs of 64-bit hashes within a Hamming distance, without comparing all pairs.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index
Hashing", CVPR 2012): a hash is cut into four bands of 16 bits, and a table per band lists who has
each of its 65,536 values. Two hashes at distance at most 4 p + 3 differ by at most p bits in one
band at least (pigeonhole), so looking up every value within p bits of each band finds them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BANDS = 4
_BAND_BITS = 16
_VALUES = 1 << _BAND_BITS
LARGEST_RADIUS = 15
"""Up to here a look-up (697 values a band) is cheaper than comparing with everything."""

_MOST_CANDIDATES = 4_000_000
"""Compared at once; bounds memory to some 200 MB, however many hashes are alike."""

_BLOCK = 4096
"""Queries looked up at once."""

_ONES = np.array([value.bit_count() for value in range(_VALUES)], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs within the radius: three arrays of one length."""

    queries: np.ndarray
    """int64, rows of the queries."""
    rows: np.ndarray
    """int64, rows of the index."""
    distances: np.ndarray
    """uint8, differing bits."""


class HashIndex:
    """Hashes that can be searched by Hamming distance."""

    def __init__(self, hashes: np.ndarray) -> None:
        """Build the tables of `hashes`, uint64 (N,)."""
        self._bands = split_bands(hashes)
        self._order = [np.argsort(band, kind="stable") for band in self._bands.T]
        self._starts = [
            np.concatenate([[0], np.cumsum(np.bincount(band, minlength=_VALUES))])
            for band in self._bands.T
        ]

    def search(self, queries: np.ndarray, radius: int) -> Iterator[Matches]:
        """Yield every pair within `radius` (0..15) exactly once, in parts.

        Args:
            queries: uint64 (Q,).
            radius: largest number of differing bits.
        """
        if not 0 <= radius <= LARGEST_RADIUS:
            message = f"radius is {radius}; the index covers 0 to {LARGEST_RADIUS}"
            raise ValueError(message)
        reach = radius // _BANDS
        flips = np.flatnonzero(reach >= _ONES)
        bands = split_bands(queries)
        for block in range(0, len(bands), _BLOCK):
            some = bands[block : block + _BLOCK]
            for band in range(_BANDS):
                keys = some[:, band].astype(np.int64)[:, None] ^ flips[None, :]
                sizes = self._starts[band][keys + 1] - self._starts[band][keys]
                for part in _parts(sizes.sum(axis=1)):
                    lookup = _Lookup(some[part], keys[part], sizes[part], block + part.start)
                    yield self._compare(lookup, band, reach, radius)

    def _compare(self, lookup: _Lookup, band: int, reach: int, radius: int) -> Matches:
        sizes = lookup.sizes.ravel()
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        # Position of each candidate inside its bucket, plus where that bucket begins.
        first = np.repeat(self._starts[band][lookup.keys.ravel()] - (ends - sizes), sizes)
        rows = self._order[band][first + np.arange(total)]
        queries = np.repeat(np.arange(len(lookup.bands)), lookup.sizes.sum(axis=1))
        bits = _ONES[lookup.bands[queries] ^ self._bands[rows]]
        distances = bits.sum(axis=1, dtype=np.uint8)
        # A pair that an earlier band has found is not found again.
        kept = (distances <= radius) & (bits[:, :band] > reach).all(axis=1)
        return Matches(queries[kept] + lookup.offset, rows[kept], distances[kept])


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Some queries, the table entries they look up and how many hashes stand there."""

    bands: np.ndarray
    keys: np.ndarray
    sizes: np.ndarray
    offset: int


def hamming(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Differing bits of two uint64 arrays of one length, uint8."""
    return _ONES[split_bands(first) ^ split_bands(second)].sum(axis=1, dtype=np.uint8)


def split_bands(hashes: np.ndarray) -> np.ndarray:
    """uint64 (N,) -> uint16 (N, 4)."""
    return np.ascontiguousarray(hashes, dtype=np.uint64).view(np.uint16).reshape(-1, _BANDS)


def _parts(counts: np.ndarray) -> Iterator[slice]:
    """Runs of queries with at most `_MOST_CANDIDATES` candidates together (or one query)."""
    start, total = 0, 0
    for position, count in enumerate(counts.tolist()):
        if position > start and total + count > _MOST_CANDIDATES:
            yield slice(start, position)
            start, total = position, 0
        total += count
    if start < len(counts):
        yield slice(start, len(counts))
