"""Training features in the basis of their principal axes, where a linear model is quick to fit.

A penalised linear model needs nothing outside the space that the training rows span. With no more
rows n than features d, that space has at most n axes, and the problem shrinks from n x d to n x n
without any approximation. In the basis of principal axes the curvature of the loss is also nearly
diagonal and known beforehand, so a solver can be given equally curved variables; that pays for
n > d as well. Where both n and d are large, the features are taken as they are, in blocks.

Source: Hastie, Tibshirani, "Efficient quadratic regularization for expression arrays",
Biostatistics 5, 2004 (the reduction).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .standardise import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .standardise import Standardisation

AXES = 4096
"""Largest matrix that is decomposed (half a minute on one core)."""

HELD_BYTES = 1 << 29
"""Rows in the new basis are kept if they fit into this, else made anew in every pass."""

_NULL = 1e-12
"""Part of the largest squared singular value below which an axis carries rounding only."""


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """A linear map from r variables to n rows, one column per class.

    Attributes:
        features: float (n, d) as given.
        standard: of the features.
        squares: float64 (r,), squared length of the map's r columns, which are orthogonal unless
            `axes` is None.
        axes: float64 (d, r), principal axes; None where they are the features themselves.
        held: float64 (n, r), the map as a matrix; None where it is made block by block.
        dual: float64 (n, r), combinations of training rows that are the axes, in place of `axes`.
    """

    features: NDArray[np.floating]
    standard: Standardisation
    squares: NDArray[np.float64]
    axes: NDArray[np.float64] | None = None
    held: NDArray[np.float64] | None = None
    dual: NDArray[np.float64] | None = None

    def blocks(
        self, variables: NDArray[np.float64]
    ) -> Iterable[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
        """Blocks of rows: where they belong, the rows (m, ·), and their products (m, C)."""
        if self.held is not None:
            yield slice(0, len(self.held)), self.held, self.held @ variables
            return
        weights = variables if self.axes is None else self.axes @ variables
        for place, rows in self.standard.blocks(self.features):
            yield place, rows, rows @ weights

    def to_variables(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """A gradient summed over the rows of `blocks`, with respect to the variables (r, C)."""
        return gradient if self.held is not None or self.axes is None else self.axes.T @ gradient

    def to_coefficients(self, variables: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variables (r, C) as coefficients of the standardised features, (d, C)."""
        if self.dual is not None:
            return _transposed_times(self.features, self.standard, self.dual @ variables)
        return variables if self.axes is None else self.axes @ variables


def make_design(features: NDArray[np.floating], standard: Standardisation) -> Design:
    """Choose the smallest exact form of the problem for training features (n, d)."""
    count, dims = features.shape
    if min(count, dims) > AXES:
        held = standard.apply(features) if count * dims * 8 <= HELD_BYTES else None
        squares = np.full(dims, count / dims)
        return Design(features, standard, squares, held=held)
    if count <= dims:
        squares, vectors = _spectrum(_gram_of_rows(features, standard))
        lengths = np.sqrt(squares)
        return Design(features, standard, squares, held=vectors * lengths, dual=vectors / lengths)
    squares, axes = _spectrum(_gram_of_columns(features, standard))
    if count * len(squares) * 8 > HELD_BYTES:
        return Design(features, standard, squares, axes=axes)
    held = np.empty((count, len(squares)))
    for place, rows in standard.blocks(features):
        held[place] = rows @ axes
    return Design(features, standard, squares, axes=axes, held=held)


def _spectrum(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > _NULL * squares[-1]
    return squares[kept], vectors[:, kept]


def _gram_of_columns(
    features: NDArray[np.floating], standard: Standardisation
) -> NDArray[np.float64]:
    gram = np.zeros((features.shape[1],) * 2)
    for _, rows in standard.blocks(features):
        gram += rows.T @ rows
    return gram


def _gram_of_rows(features: NDArray[np.floating], standard: Standardisation) -> NDArray[np.float64]:
    gram = np.zeros((len(features),) * 2)
    for columns in _column_blocks(features):
        part = _columns_of(features, standard, columns)
        gram += part @ part.T
    return gram


def _transposed_times(
    features: NDArray[np.floating], standard: Standardisation, right: NDArray[np.float64]
) -> NDArray[np.float64]:
    product = np.empty((features.shape[1], right.shape[1]))
    for columns in _column_blocks(features):
        product[columns] = _columns_of(features, standard, columns).T @ right
    return product


def _column_blocks(features: NDArray[np.floating]) -> list[slice]:
    count, dims = features.shape
    step = max(1, BLOCK_BYTES // (8 * count))
    return [slice(start, min(dims, start + step)) for start in range(0, dims, step)]


def _columns_of(
    features: NDArray[np.floating], standard: Standardisation, columns: slice
) -> NDArray[np.float64]:
    part = np.subtract(features[:, columns], standard.mean[columns], dtype=np.float64)
    part *= standard.factor[columns]
    return part
