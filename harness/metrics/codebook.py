"""How much of its codebooks a tokenizer uses: usage, entropy and perplexity of the indices.

All from histograms pooled over the data set, int64 (K, V): K codebooks of V codes. Histograms of
parts of the data add up to that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CodebookStatistics:
    """What `codebook_statistics` returns.

    Attributes:
        usage: fraction of the V codes that occur at all, mean over the K codebooks; in (0, 1].
        entropy_bits: bits per token position: the entropies of the K codebooks added up, each
            with the Miller-Madow correction; in [0, K·log2 V]. The codebooks are treated as
            independent, so this bounds their joint entropy from above.
        perplexity: 2 to the power of a codebook's entropy, mean over the codebooks; in [1, V].
        entropy_bits_per_codebook: float64 (K,), the terms of `entropy_bits`.
        positions: token positions counted, equal for all codebooks. Usage and entropy grow with
            it, so print it beside them.
    """

    usage: float
    entropy_bits: float
    perplexity: float
    entropy_bits_per_codebook: NDArray[np.float64]
    positions: int


def count_indices(indices: NDArray[np.integer], codebook_size: int) -> NDArray[np.int64]:
    """Histogram of a batch of indices.

    Args:
        indices: integer (B, K, L), each in [0, codebook_size).
        codebook_size: V.

    Returns:
        int64 (K, V); add the histograms of batches.

    Raises:
        MetricError: another shape or type, or an index outside the codebook.
    """
    if indices.ndim != 3 or not np.issubdtype(indices.dtype, np.integer):
        raise MetricError(
            f"indices must be integers of shape (B, K, L), got {indices.dtype} {indices.shape}."
        )
    if indices.size and not (indices.min() >= 0 and indices.max() < codebook_size):
        raise MetricError(
            f"indices lie in {indices.min()}..{indices.max()}, outside the codebook "
            f"0..{codebook_size - 1}. The wrapper declares another codebook_size."
        )
    rows = [
        np.bincount(indices[:, k].ravel(), minlength=codebook_size) for k in range(indices.shape[1])
    ]
    return np.stack(rows).astype(np.int64)


def codebook_statistics(counts: NDArray[np.int64]) -> CodebookStatistics:
    """Usage, entropy and perplexity from pooled histograms.

    Entropy of a codebook: ``-Σ p log2 p + (m - 1) / (2 N ln 2)`` bits with m the number of codes
    that occur among N positions, capped at log2 V. Without the second term few images look
    far less diverse than many: 9,216 positions on 4,096 equally likely codes lose 0.3 bit.

    Args:
        counts: int64 (K, V) from `count_indices`, summed over the data set.

    Raises:
        MetricError: another shape or type, negative counts, no positions, or codebooks with
            unequal numbers of positions.

    Source of the correction: Miller, "Note on the bias of information estimates", 1955.
    """
    _check_counts(counts)
    positions = int(counts[0].sum())
    used = (counts > 0).sum(axis=1)
    frequencies = counts / positions
    logarithms = np.log2(frequencies, where=counts > 0, out=np.zeros_like(frequencies))
    plug_in = -(frequencies * logarithms).sum(axis=1)
    correction = (used - 1) / (2.0 * positions * np.log(2.0))
    entropy = np.minimum(plug_in + correction, np.log2(counts.shape[1])) + 0.0
    return CodebookStatistics(
        usage=float(used.mean() / counts.shape[1]),
        entropy_bits=float(entropy.sum()),
        perplexity=float(np.exp2(entropy).mean()),
        entropy_bits_per_codebook=entropy,
        positions=positions,
    )


def _check_counts(counts: NDArray[np.int64]) -> None:
    if counts.ndim != 2 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise MetricError(
            f"counts must be integers of shape (K, V), got {counts.dtype} {counts.shape}."
        )
    positions = counts.sum(axis=1)
    if (counts < 0).any() or positions[0] < 1 or (positions != positions[0]).any():
        raise MetricError(
            "counts must be non-negative, with one and the same positive number of positions in "
            f"every codebook; got {positions.tolist()} positions."
        )
