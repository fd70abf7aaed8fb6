"""Features with mean 0 and equal spread, so that one penalty is fair to all of them.

Each feature is centred and divided by its standard deviation on the training images and by √d:
a row's mean squared norm is then 1 whatever the number d of features, and a penalty means the same
for 8 features as for 16,384.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..metrics.feature_sets import check_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CONSTANT = 1e-6
"""A spread below this part of the mean's size is rounding of float32: the feature is constant."""

BLOCK_BYTES = 1 << 24
"""Of the float64 copy of a block of rows: what memory-mapped features cost in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Standardisation:
    """What training images say about the spread of each feature.

    Attributes:
        mean: float64 (d,).
        factor: float64 (d,), one over standard deviation times √d; 0 for a constant feature.
    """

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]

    def apply(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Standardised copy of rows (n, d), float64."""
        rows = np.subtract(features, self.mean, dtype=np.float64)
        rows *= self.factor
        return rows

    def blocks(self, features: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Standardised blocks of rows and where they belong, a few at a time."""
        for rows in row_blocks(*features.shape):
            yield rows, self.apply(features[rows])


def fit_standardisation(features: NDArray[np.floating]) -> Standardisation:
    """Means and spreads of training features (n, d), in memory or memory-mapped.

    Raises:
        MetricError: fewer than two rows, or values that are not finite.
    """
    check_features(features, "training features")
    count, dims = features.shape
    blocks = row_blocks(count, dims)
    mean = sum(features[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / count
    squares = np.zeros(dims)
    for rows in blocks:
        centred = np.subtract(features[rows], mean, dtype=np.float64)
        squares += np.einsum("ij,ij->j", centred, centred)
    deviation = np.sqrt(squares / count)
    constant = deviation <= CONSTANT * np.abs(mean)
    factor = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation) / np.sqrt(dims))
    return Standardisation(np.asarray(mean), factor)


def row_blocks(count: int, dims: int) -> list[slice]:
    """Slices that cut `count` rows of `dims` numbers into blocks of at most `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (8 * dims))
    return [slice(start, min(count, start + step)) for start in range(0, count, step)]
