"""Fréchet distance between Gaussians fitted to two feature sets, without a matrix square root.

``d² = |μ1 - μ2|² + tr Σ1 + tr Σ2 - 2 tr (Σ1 Σ2)^½``. With any factors F1 F1ᵀ = Σ1, F2 F2ᵀ = Σ2,
the last trace is the sum of the singular values of F1ᵀ F2, so it cannot turn complex. For
no more images than dimensions the centred features themselves are such factors and the problem
is n x n: exact, and no d x d matrix is ever formed. Otherwise F1 is a Cholesky factor and the
singular values are the square roots of the eigenvalues of F1ᵀ Σ2 F1.

The estimate is biased upwards by O(1/n): compare values of equal n only.

Source: Dowson, Landau, "The Fréchet distance between multivariate normal distributions", J.
Multivariate Analysis 12, 1982; Heusel et al., "GANs trained by a two time-scale update rule
converge to a local Nash equilibrium", NeurIPS 2017, equation 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from .feature_sets import ROWS, check_feature_sets, check_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NEGATIVE_TOLERANCE = 1e-6
"""Relative to the traces: a value that is below zero by more is no rounding error."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStatistics:
    """A Gaussian fitted to features: all that the distance needs to know of many images.

    Attributes:
        mean: float64 (d,).
        covariance: float64 (d, d), sample covariance (divided by n - 1).
        count: n, the number of images.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int


def fit_statistics(features: NDArray[np.floating]) -> FeatureStatistics:
    """Mean and sample covariance of features (n, d), accumulated in float64 by blocks of rows.

    Raises:
        MetricError: fewer than two rows, or values that are not finite.
    """
    check_features(features)
    count, dims = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((dims, dims))
    for start in range(0, count, ROWS):
        centred = features[start : start + ROWS] - mean
        scatter += centred.T @ centred
    return FeatureStatistics(mean, scatter / (count - 1), count)


def frechet_distance(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    *,
    reference_statistics: FeatureStatistics | None = None,
) -> float:
    """Squared Fréchet distance between Gaussians fitted to two feature sets.

    Args:
        reference: float (n, d), features of the reference images.
        candidate: float (m, d), features of the images under test.
        reference_statistics: what `fit_statistics(reference)` gave, to save its repetition over
            many candidates; it is used where both sets have more rows than dimensions.

    Returns:
        The distance in squared feature units, at least 0; lower is better, 0 for equal sets.

    Raises:
        MetricError: fewer than two rows, unequal d, or values that are not finite.
    """
    check_feature_sets(reference, candidate)
    if min(len(reference), len(candidate)) > reference.shape[1]:
        first = reference_statistics or fit_statistics(reference)
        return frechet_from_statistics(first, fit_statistics(candidate))
    gap = reference.mean(axis=0, dtype=np.float64) - candidate.mean(axis=0, dtype=np.float64)
    first, second = _centred_factor(reference), _centred_factor(candidate)
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    traces = np.vdot(first, first) + np.vdot(second, second)
    return _clipped(float(gap @ gap), float(traces), float(cross))


def frechet_from_statistics(reference: FeatureStatistics, candidate: FeatureStatistics) -> float:
    """The same distance from fitted Gaussians; see `frechet_distance`.

    Singular covariances are allowed, with the accuracy of eigenvalues (about 1e-6 of the
    traces); `frechet_distance` is exact for them.

    Raises:
        MetricError: unequal d, values that are not finite, or a matrix that is no covariance.
    """
    if reference.mean.shape != candidate.mean.shape:
        sizes = f"{reference.mean.shape} and {candidate.mean.shape}"
        raise MetricError(f"feature sizes differ: {sizes}. Both must come from one extractor.")
    for name, fitted in (("reference", reference), ("candidate", candidate)):
        if not (np.isfinite(fitted.mean).all() and np.isfinite(fitted.covariance).all()):
            raise MetricError(f"{name}: the statistics have values that are not finite.")
    gap = reference.mean - candidate.mean
    factor = _factor(reference.covariance)
    eigenvalues = np.linalg.eigvalsh(factor.T @ candidate.covariance @ factor)
    cross = np.sqrt(eigenvalues.clip(min=0.0)).sum()
    traces = np.trace(reference.covariance) + np.trace(candidate.covariance)
    return _clipped(float(gap @ gap), float(traces), float(cross))


def frechet_over_subsets(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    subsets: Sequence[NDArray[np.int64]] | NDArray[np.int64],
) -> NDArray[np.float64]:
    """Distance of each subset of rows, the same rows on both sides.

    Args:
        reference: float (n, d).
        candidate: float (n, d), row i made from row i of `reference`.
        subsets: R index arrays into the rows, such as `statistics.halves.random_halves` draws.

    Returns:
        float64 (R,).

    Raises:
        MetricError: as `frechet_distance`, or unequal numbers of rows.
    """
    check_feature_sets(reference, candidate)
    if len(reference) != len(candidate):
        raise MetricError(
            f"pairs are kept together, but there are {len(reference)} reference rows and "
            f"{len(candidate)} candidate rows."
        )
    small = all(2 <= len(rows) <= reference.shape[1] for rows in subsets)
    # Few subsets of many rows (ten draws of 500) need few of all inner products.
    if small and len(reference) ** 2 <= sum(len(rows) ** 2 for rows in subsets):
        return _over_small_subsets(reference, candidate, subsets)
    return np.array([frechet_distance(reference[rows], candidate[rows]) for rows in subsets])


def _over_small_subsets(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    subsets: Sequence[NDArray[np.int64]] | NDArray[np.int64],
) -> NDArray[np.float64]:
    """The form for no more rows than dimensions, with all inner products taken once.

    A subset's means are subtracted from its inner products instead of its features.
    """
    offsets = [features.mean(axis=0, dtype=np.float64) for features in (reference, candidate)]
    first, second = (
        np.subtract(features, offset, dtype=np.float64)
        for features, offset in zip((reference, candidate), offsets, strict=True)
    )
    products = first @ second.T
    norms = np.einsum("nd,nd->n", first, first), np.einsum("nd,nd->n", second, second)
    values = np.empty(len(subsets))
    for place, rows in enumerate(subsets):
        means = first[rows].mean(axis=0), second[rows].mean(axis=0)
        inner = products[np.ix_(rows, rows)]
        inner -= inner.mean(axis=0)
        inner -= inner.mean(axis=1, keepdims=True)
        cross = np.linalg.svd(inner, compute_uv=False).sum()
        squares = sum(norm[rows].sum() for norm in norms)
        spread = squares - len(rows) * sum(np.vdot(mean, mean) for mean in means)
        gap = offsets[0] + means[0] - offsets[1] - means[1]
        degrees = len(rows) - 1
        values[place] = _clipped(float(gap @ gap), spread / degrees, cross / degrees)
    return values


def _centred_factor(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64 (n, d) whose Gram matrix over the rows is the sample covariance."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = np.subtract(features, mean, dtype=np.float64)
    centred /= np.sqrt(len(features) - 1)
    return centred


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A square F with F Fᵀ = `covariance`; a singular one (a dead feature) needs eigenvectors."""
    try:
        return np.linalg.cholesky(covariance).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return np.multiply(vectors, np.sqrt(eigenvalues.clip(min=0.0)), dtype=np.float64)


def _clipped(gap: float, traces: float, cross: float) -> float:
    value = gap + traces - 2.0 * cross
    if value < -_NEGATIVE_TOLERANCE * abs(traces):
        raise MetricError(
            f"the Fréchet distance came out as {value:.3g} with traces of {traces:.3g}: "
            "a covariance is not positive semi-definite. Recompute the statistics."
        )
    return max(0.0, value)
