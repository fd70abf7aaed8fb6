"""Peak signal-to-noise ratio of image pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .image_pairs import DATA_RANGE, check_image_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

PSNR_CAP = 100.0
"""Value in dB that stands for the infinite PSNR of an exact copy. The largest finite PSNR of a
256×256 colour pair (one channel of one pixel off by one) is 101.1 dB, so the cap is also applied
above 100 dB."""


def psnr(reference: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> NDArray[np.float64]:
    """PSNR of each pair: ``10 log10(255² / MSE)``, the MSE over H·W·C of that pair.

    Report the arithmetic mean of the values; the PSNR of the pooled MSE is another number.

    Args:
        reference: uint8 (N, H, W, 3).
        candidate: uint8 (N, H, W, 3), in the order of `reference`.

    Returns:
        float64 (N,), in dB, within [0, `PSNR_CAP`]; higher is better, `PSNR_CAP` for equal images.

    Raises:
        MetricError: the arrays are no uint8 image pairs.

    Source: the standard definition (ITU-T J.340 and others), all channels in one MSE.
    """
    check_image_pairs(reference, candidate)
    values = np.empty(len(reference), dtype=np.float64)
    for i, (image, other) in enumerate(zip(reference, candidate, strict=True)):
        # int32 holds a squared difference; the sum of 65,025 · H·W·C needs int64.
        difference = np.subtract(image, other, dtype=np.int32)
        squared_error = int(np.vdot(difference.astype(np.int64), difference.astype(np.int64)))
        if squared_error == 0:
            values[i] = PSNR_CAP
        else:
            mse = squared_error / difference.size
            values[i] = min(PSNR_CAP, 10.0 * np.log10(DATA_RANGE**2 / mse))
    return values
