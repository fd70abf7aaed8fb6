"""Random draws that depend on the data only, so that all tokenizers share them.

The seed of a draw is a hash of the purpose, the data set's fingerprint and the stratum. The
tokenizer, the metric and the values are not part of it, so replicates of two tokenizers are paired
by construction, on any machine and in any order. The random words are Philox's raw output, which
NumPy keeps stable.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNIT = 2.0**-53


class DrawStream:
    """A stream of uniform numbers that `purpose`, `fingerprint` and `stratum` select.

    Args:
        purpose: the rule's name and version, such as ``bootstrap-1``.
        fingerprint: of the images in their order: equal for all tokenizers on the same data.
        stratum: name of the group within which is drawn; draws of a modality do not depend on
            which other modalities are present.
    """

    def __init__(self, purpose: str, fingerprint: str, stratum: str) -> None:
        if not fingerprint:
            raise UsageError(
                "the data fingerprint is empty: draws must be tied to the images. "
                "Pass the data set's fingerprint."
            )
        text = "\0".join((purpose, fingerprint, stratum)).encode("utf-8")
        key = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
        self._words = np.random.Philox(key=key)

    def uniform(self, rows: int, columns: int) -> NDArray[np.float64]:
        """The next rows x columns numbers in [0, 1)."""
        words = self._words.random_raw(rows * columns).reshape(rows, columns)
        return (words >> np.uint64(11)).astype(np.float64) * _UNIT

    def with_replacement(self, rows: int, count: int) -> NDArray[np.int64]:
        """The next `rows` samples of `count` from range(count), (rows, count)."""
        return (self.uniform(rows, count) * count).astype(np.int64)

    def without_replacement(self, rows: int, count: int, size: int) -> NDArray[np.int64]:
        """The next `rows` subsets of `size` from range(count), (rows, size), sorted."""
        order = np.argsort(self.uniform(rows, count), axis=1, kind="stable")
        return np.sort(order[:, :size], axis=1)


def unit_numbers(keys: Sequence[str]) -> NDArray[np.int64]:
    """Number 0, 1 … of the unit (patient, volume) of each row, int64 (n,), by first appearance.

    Args:
        keys: of the units; an empty string makes its row a unit of its own.
    """
    named = [key or row for row, key in enumerate(keys)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(named))}
    return np.array([numbers[key] for key in named], dtype=np.int64)


def strata_rows(strata: Sequence[str] | NDArray[np.str_]) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each stratum, strata in alphabetical order, rows in the given order."""
    names, codes = np.unique(np.asarray(strata, dtype=np.str_), return_inverse=True)
    return {str(name): np.flatnonzero(codes == code) for code, name in enumerate(names)}
