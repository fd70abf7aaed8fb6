"""Kernel inception distance: the squared maximum mean discrepancy of two feature sets.

Kernel ``k(a, b) = (a·b / d + 1)³``; unbiased estimate ``mean_{i≠j} k(x_i, x_j) +
mean_{i≠j} k(y_i, y_j) - 2 mean_{i,j} k(x_i, y_j)`` over *all* images, where others average
random subsets of 50 to 1000. For two independent sets it is unbiased: around equal distributions
it is as often negative as positive, and values of different n can be compared. A reconstruction
is no independent set: the n terms k(x_i, y_i) of an image with its own copy lower the value by
about ``2 (mean_i k(x_i, y_i) - mean_{i≠j} k(x_i, y_j)) / n``, so that good reconstructions score
below zero. Compare them at equal n.

Source: Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018, section 4;
Gretton et al., "A kernel two-sample test", JMLR 13, 2012, equation 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from .feature_sets import check_feature_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1024
"""Rows and columns of a kernel block (8 MiB): memory does not grow with n²."""


def kid(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    """Unbiased polynomial MMD of two feature sets, in float64.

    Args:
        reference: float (n, d), features of the reference images.
        candidate: float (m, d), features of the images under test.

    Returns:
        The squared discrepancy, no unit; lower is better, and it may be negative. For independent
        sets of one distribution the expectation is 0.

    Raises:
        MetricError: fewer than two rows, unequal d, or values that are not finite.
    """
    check_feature_sets(reference, candidate)
    x, y = (np.ones((len(each), 1), dtype=np.bool_) for each in (reference, candidate))
    return float(_discrepancy(reference, candidate, x, y)[0])


def kid_over_subsets(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    subsets: NDArray[np.int64],
) -> NDArray[np.float64]:
    """`kid` of each subset of rows, the same rows on both sides, in one pass over the kernels.

    Args:
        reference: float (n, d).
        candidate: float (n, d), row i made from row i of `reference`.
        subsets: int64 (R, s), each row s >= 2 distinct indices into the rows, such as
            `statistics.halves.random_halves` draws.

    Returns:
        float64 (R,).

    Raises:
        MetricError: as `kid`; unequal numbers of rows; an index twice in a subset.
    """
    check_feature_sets(reference, candidate)
    if len(reference) != len(candidate):
        raise MetricError(
            f"pairs are kept together, but there are {len(reference)} reference rows and "
            f"{len(candidate)} candidate rows."
        )
    members = np.zeros((len(reference), len(subsets)), dtype=np.bool_)
    for column, rows in enumerate(subsets):
        members[rows, column] = True
    sizes = members.sum(axis=0)
    if (sizes != subsets.shape[1]).any() or subsets.shape[1] < 2:
        raise MetricError("every subset must name at least two rows, each of them once.")
    return _discrepancy(reference, candidate, members, members)


def _discrepancy(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    in_x: NDArray[np.bool_],
    in_y: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """MMD² for R subsets at once: `in_x` (n, R) and `in_y` (m, R) say who is a member."""
    sizes_x, sizes_y = in_x.sum(axis=0), in_y.sum(axis=0)
    within_x = (_kernel_sums(x, x, in_x, in_x) - _diagonal_sums(x, in_x)) / sizes_x / (sizes_x - 1)
    within_y = (_kernel_sums(y, y, in_y, in_y) - _diagonal_sums(y, in_y)) / sizes_y / (sizes_y - 1)
    return within_x + within_y - 2.0 * _kernel_sums(x, y, in_x, in_y) / sizes_x / sizes_y


def _kernel_sums(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    in_a: NDArray[np.bool_],
    in_b: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Sum of k(a_i, b_j) over the members of each subset, (R,)."""
    symmetric = a is b
    total = np.zeros(in_a.shape[1])
    for i in range(0, len(a), BLOCK):
        rows = a[i : i + BLOCK].astype(np.float64)
        of_rows = in_a[i : i + BLOCK].astype(np.float64)
        for j in range(i if symmetric else 0, len(b), BLOCK):
            kernel = _cubed(rows @ b[j : j + BLOCK].astype(np.float64).T, a.shape[1])
            inner = kernel @ in_b[j : j + BLOCK].astype(np.float64)
            # Blocks above the diagonal of a symmetric matrix stand for those below it as well.
            weight = 2.0 if symmetric and j > i else 1.0
            total += weight * np.einsum("ir,ir->r", inner, of_rows)
    return total


def _diagonal_sums(a: NDArray[np.floating], in_a: NDArray[np.bool_]) -> NDArray[np.float64]:
    kernel = _cubed(np.einsum("ij,ij->i", a, a, dtype=np.float64), a.shape[1])
    total = np.zeros(in_a.shape[1])
    for i in range(0, len(a), BLOCK):
        total += kernel[i : i + BLOCK] @ in_a[i : i + BLOCK].astype(np.float64)
    return total


def _cubed(products: NDArray[np.float64], dims: int) -> NDArray[np.float64]:
    """The kernel from dot products; two multiplications are far faster than a power."""
    base = products / dims
    base += 1.0
    cube = base * base
    cube *= base
    return cube
