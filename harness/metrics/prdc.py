"""Precision, recall, density and coverage of generated images, from nearest neighbours.

Around each image lies a ball that reaches to its k-th neighbour among its own kind. *Precision*:
share of samples inside the ball of any real image. *Recall*: share of real images inside the ball
of any sample. *Density*: how many real balls hold a sample, divided by k, on average; may exceed
one. *Coverage*: share of real images whose own ball holds at least one sample.

Source: Kynkäänniemi et al., "Improved precision and recall metric for assessing generative
models", NeurIPS 2019, section 2; Naeem et al., "Reliable fidelity and diversity metrics for
generative models", ICML 2020, section 3.2. Both sets should have equally many images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from .feature_sets import check_feature_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 5
"""k, as Naeem et al. choose it."""
_ROWS = 512
"""Rows of a distance matrix at a time."""


@dataclass(frozen=True, slots=True)
class Prdc:
    """The four shares; higher is better for each.

    Attributes:
        precision: in [0, 1].
        recall: in [0, 1].
        density: at least 0.
        coverage: in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    *,
    neighbours: int = NEIGHBOURS,
) -> Prdc:
    """The four shares from features.

    Args:
        reference: float (n, d), features of real images.
        candidate: float (m, d), features of samples.
        neighbours: k, at least 1.

    Raises:
        MetricError: not more than k images on a side, unequal d, or values that are not finite.
    """
    check_feature_sets(reference, candidate)
    fewest = min(len(reference), len(candidate))
    if neighbours < 1 or fewest <= neighbours:
        message = (
            f"precision and recall look at {neighbours} neighbours and need at least "
            f"{max(neighbours, 1) + 1} images on each side, got {fewest}."
        )
        raise MetricError(message)
    real_radii = _radii(reference, neighbours)
    sample_radii = _radii(candidate, neighbours)
    inside_any, inside_count = 0, 0
    recalled = np.zeros(len(reference), dtype=bool)
    covered = np.zeros(len(reference), dtype=bool)
    for rows, squares in _squares(candidate, reference):
        in_real = squares < real_radii
        inside_any += int(in_real.any(axis=1).sum())
        inside_count += int(in_real.sum())
        covered |= in_real.any(axis=0)
        recalled |= (squares < sample_radii[rows, None]).any(axis=0)
    return Prdc(
        precision=inside_any / len(candidate),
        recall=float(recalled.mean()),
        density=inside_count / (neighbours * len(candidate)),
        coverage=float(covered.mean()),
    )


def nearest(
    queries: NDArray[np.floating],
    others: NDArray[np.floating],
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest of `others` (m, d) to each of `queries` (n, d), a block of them at a time.

    Args:
        queries: float (n, d).
        others: float (m, d); may be memory-mapped, and is never copied whole.
        rows: which of `others`, int64, at least one; None: all.

    Returns:
        int64 (n,) its row, the first of equal ones, and float64 (n,) its distance.

    Raises:
        MetricError: as `prdc`.
    """
    check_feature_sets(others, queries)
    rows = np.arange(len(others)) if rows is None else rows
    places = np.zeros(len(queries), dtype=np.int64)
    best = np.full(len(queries), np.inf)
    for start in range(0, len(rows), _ROWS):
        chosen = rows[start : start + _ROWS]
        for place, squares in _squares(queries, others[chosen]):
            nearer = squares.min(axis=1)
            better = nearer < best[place]
            best[place] = np.where(better, nearer, best[place])
            places[place] = np.where(better, chosen[squares.argmin(axis=1)], places[place])
    return places, np.sqrt(best)


def _radii(features: NDArray[np.floating], neighbours: int) -> NDArray[np.float64]:
    """Squared distance of each row to its k-th neighbour, itself left out."""
    radii = np.empty(len(features))
    for rows, squares in _squares(features, features):
        # The nearest is the row itself, at rounding distance from zero at most.
        squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = -1.0
        radii[rows] = np.partition(squares, neighbours, axis=1)[:, neighbours]
    return radii


def _squares(
    x: NDArray[np.floating], y: NDArray[np.floating]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Squared distances of blocks of rows of `x` to all of `y`, in float64."""
    # Distances do not change with an offset, and products of centred features lose fewer digits.
    centre = y.mean(axis=0, dtype=np.float64)
    y_wide = y - centre
    norms = np.einsum("ij,ij->i", y_wide, y_wide)
    for start in range(0, len(x), _ROWS):
        block = x[start : start + _ROWS] - centre
        squares = np.einsum("ij,ij->i", block, block)[:, None] + norms - 2.0 * block @ y_wide.T
        yield slice(start, start + len(block)), squares.clip(min=0.0)
