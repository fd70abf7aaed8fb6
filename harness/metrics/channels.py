"""Whether grey images come back grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .image_pairs import DATA_RANGE, check_image_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def channel_disagreement(
    reference: NDArray[np.uint8], candidate: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Mean absolute difference between the reconstructed channels, where the original is grey.

    Args:
        reference: uint8 (N, H, W, 3); grey means R = G = B at every pixel.
        candidate: uint8 (N, H, W, 3), in the order of `reference`.

    Returns:
        float64 (N,), the mean over pixels and the three pairs of channels, as a share of the value
        range, in [0, 1]; 0 where the reconstruction is grey too, NaN where the original is not.

    Raises:
        MetricError: the arrays are no uint8 image pairs.
    """
    check_image_pairs(reference, candidate)
    values = np.full(len(reference), np.nan)
    for row, image in enumerate(reference):
        if not (np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(*image.T[1:])):
            continue
        red, green, blue = candidate[row].astype(np.int16).transpose(2, 0, 1)
        gaps = (abs(red - green), abs(green - blue), abs(blue - red))
        values[row] = np.mean([gap.mean() for gap in gaps]) / DATA_RANGE
    return values
