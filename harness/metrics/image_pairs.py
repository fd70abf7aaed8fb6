"""The one contract of all pairwise image metrics: two uint8 arrays of equal shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA_RANGE = 255.0
"""Width of the value range of uint8 images; fixed, so that no metric guesses it from the data."""


def check_image_pairs(
    reference: NDArray[np.uint8], candidate: NDArray[np.uint8], *, smallest_side: int = 1
) -> None:
    """Check that both arrays are uint8 (N, H, W, 3) of one shape, with sides that are long enough.

    Args:
        reference: the images that were given to the tokenizer.
        candidate: the images that came back, in the same order.
        smallest_side: the shortest height or width, in pixels, that the metric can work on.

    Raises:
        MetricError: another type or shape, no images, or images that are too small.
    """
    for name, images in (("reference", reference), ("candidate", candidate)):
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            seen = getattr(images, "dtype", type(images).__name__)
            raise MetricError(
                f"{name}: images must be a NumPy array of uint8 in 0..255, got {seen}. "
                "Clamp and round once, before any metric."
            )
        if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
            raise MetricError(
                f"{name}: images must have shape (N >= 1, H, W, 3), got {images.shape}. "
                "Replicate grey images to three channels."
            )
    if reference.shape != candidate.shape:
        raise MetricError(
            f"reference {reference.shape} and candidate {candidate.shape} differ in shape: "
            "every reconstruction needs the image that it was made from."
        )
    if min(reference.shape[1:3]) < smallest_side:
        height, width = reference.shape[1:3]
        raise MetricError(
            f"images are {height}×{width} pixels; this metric needs sides of at least "
            f"{smallest_side}. Evaluate at a larger resolution or leave the metric out."
        )
