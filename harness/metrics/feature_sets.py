"""What all distances between feature sets ask of their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINIMUM_IMAGES = 100
"""Below this many images no distance between distributions is reported."""

ROWS = 1024
"""Feature rows that are converted to float64 at a time (16 MiB at 2048 dimensions)."""


def check_feature_sets(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> None:
    """Check two sets of features, (n, d) and (m, d), before any linear algebra sees them.

    Raises:
        MetricError: a set with fewer than two rows, another shape or type, a value that is not
            finite, or unequal d.
    """
    for name, features in (("reference", reference), ("candidate", candidate)):
        check_features(features, name)
    if reference.shape[1] != candidate.shape[1]:
        raise MetricError(
            f"feature sizes differ: reference has {reference.shape[1]}, candidate has "
            f"{candidate.shape[1]}. Both sets must come from one extractor."
        )


def check_features(features: NDArray[np.floating], name: str = "features") -> None:
    """Check one set of features: floating, (n >= 2, d >= 1), all finite.

    Raises:
        MetricError: see above; the message counts the broken rows.
    """
    if not isinstance(features, np.ndarray) or not np.issubdtype(features.dtype, np.floating):
        seen = getattr(features, "dtype", type(features).__name__)
        raise MetricError(f"{name}: features must be a NumPy array of floats, got {seen}.")
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise MetricError(
            f"{name}: features must have shape (n >= 2, d >= 1), got {features.shape}. "
            "A distribution cannot be estimated from fewer images."
        )
    broken = sum(
        int((~np.isfinite(features[start : start + ROWS])).any(axis=1).sum())
        for start in range(0, len(features), ROWS)
    )
    if broken:
        raise MetricError(
            f"{name}: {broken} of {len(features)} rows are not finite. "
            "Look for NaN in the images or in the extractor's weights."
        )


def require_enough_images(count: int, metric: str) -> None:
    """Refuse a distance between distributions that so few images cannot estimate.

    Args:
        count: images in the smaller of the two sets.
        metric: name for the message.

    Raises:
        MetricError: `count` is below `MINIMUM_IMAGES`.
    """
    if count < MINIMUM_IMAGES:
        raise MetricError(
            f"{metric}: {count} images, at least {MINIMUM_IMAGES} are needed. With fewer, the "
            "value says more about the number of images than about the tokenizer. "
            "Use a larger split or data set; PSNR, SSIM and LPIPS hold for any number."
        )


def is_rank_deficient(count: int, dims: int) -> bool:
    """Whether fewer images than feature dimensions make a fitted covariance singular.

    A Fréchet distance from such sets is still defined, but its bias (of order 1/n) dominates:
    rank it only among values of equal n.
    """
    return count < dims
