"""Structural similarity of image pairs, under the two windows that are in use.

``SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))`` at every position where
the window lies inside the image, C1 = (K1·255)², C2 = (K2·255)²; then the mean over positions,
then over the three channels.

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE TIP 13(4), 2004, equation 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .image_pairs import check_image_pairs
from .local_moments import gaussian_window, uniform_window
from .packed_pairs import C1, C2, packed_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["C1", "C2", "GAUSSIAN_WINDOW", "UNIFORM_WINDOW", "planes", "ssim", "ssim_u7"]

GAUSSIAN_WINDOW = gaussian_window(11, 1.5)
UNIFORM_WINDOW = uniform_window(7)


def ssim(reference: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SSIM of each pair: Gaussian window 11×11 of σ = 1.5 pixels, population (co)variances.

    Args:
        reference: uint8 (N, H, W, 3), sides of at least 11 pixels.
        candidate: uint8 (N, H, W, 3), in the order of `reference`.

    Returns:
        float64 (N,), within [-1, 1]; higher is better, 1 for equal images.

    Raises:
        MetricError: the arrays are no uint8 image pairs, or smaller than the window.
    """
    return _mean_ssim(reference, candidate, GAUSSIAN_WINDOW, sample=False)


def ssim_u7(reference: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SSIM of each pair: uniform window 7×7, sample (co)variances (divided by 48, not 49).

    This is what scikit-image computes by default, with the data range set to 255; much of the
    literature prints it. It is not comparable with `ssim`.

    Args:
        reference: uint8 (N, H, W, 3), sides of at least 7 pixels.
        candidate: uint8 (N, H, W, 3), in the order of `reference`.

    Returns:
        float64 (N,), within [-1, 1]; higher is better, 1 for equal images.

    Raises:
        MetricError: the arrays are no uint8 image pairs, or smaller than the window.
    """
    return _mean_ssim(reference, candidate, UNIFORM_WINDOW, sample=True)


def planes(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) uint8 to float32 (B, 3, H, W), values 0..255."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous().float()


@torch.inference_mode()
def _mean_ssim(
    reference: NDArray[np.uint8],
    candidate: NDArray[np.uint8],
    window: tuple[float, ...],
    *,
    sample: bool,
) -> NDArray[np.float64]:
    check_image_pairs(reference, candidate, smallest_side=len(window))
    values = np.empty(len(reference), dtype=np.float64)
    for rows, pairs in packed_pairs(reference, candidate):
        values[rows] = pairs.similarity(window, sample=sample).whole.mean(dim=1).numpy()
    # Rounding can lead past 1 by 1e-8.
    return values.clip(-1.0, 1.0)
