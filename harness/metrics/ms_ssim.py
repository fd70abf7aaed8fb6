"""Multi-scale structural similarity of image pairs.

Contrast and structure at five scales (halved by 2×2 averaging), luminance at the coarsest only:
``MS-SSIM = ∏_s max(0, CS_s)^w_s`` with SSIM in place of CS at the last scale. Each factor is the
mean over positions; clipping, powers and product are done *per channel*, and the mean over the
three channels is taken last. For unrelated images the contrast-structure term is often negative,
and averaging the channels before clipping gives numbers up to 0.1 away: the rule is part of the
definition. It is that of the package pytorch-msssim.

Source: Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality
assessment", Asilomar 2003, equation 7 and the weights of its section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .image_pairs import check_image_pairs
from .local_moments import local_moments
from .ssim import CHUNK, GAUSSIAN_WINDOW, contrast_structure, luminance, planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the finest scale to the coarsest."""

SMALLEST_SIDE = (len(GAUSSIAN_WINDOW) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""161 pixels: below that the window does not fit into the coarsest scale."""


@torch.inference_mode()
def ms_ssim(reference: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> NDArray[np.float64]:
    """MS-SSIM of each pair: window and constants as in `ssim`, five scales.

    Args:
        reference: uint8 (N, H, W, 3), sides of at least 161 pixels.
        candidate: uint8 (N, H, W, 3), in the order of `reference`.

    Returns:
        float64 (N,), within [0, 1]; higher is better, 1 for equal images.

    Raises:
        MetricError: the arrays are no uint8 image pairs, or a side is 160 pixels or less.
    """
    check_image_pairs(reference, candidate, smallest_side=SMALLEST_SIDE)
    values = np.empty(len(reference), dtype=np.float64)
    for start in range(0, len(reference), CHUNK):
        rows = slice(start, start + CHUNK)
        per_channel = _per_channel(planes(reference[rows]), planes(candidate[rows]))
        values[rows] = per_channel.mean(dim=1).numpy()
    # Rounding can lead past 1 by 1e-8.
    return values.clip(0.0, 1.0)


def _per_channel(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of planes (B, C, H, W), values 0..255: float64 (B, C)."""
    product = torch.ones(x.shape[:2], dtype=torch.float64)
    last = len(SCALE_WEIGHTS) - 1
    for scale, weight in enumerate(SCALE_WEIGHTS):
        moments = local_moments(x, y, GAUSSIAN_WINDOW)
        similarity = contrast_structure(moments)
        if scale == last:
            similarity.mul_(luminance(moments))
        else:
            x, y = _halve(x), _halve(y)
        factor = similarity.mean(dim=(2, 3), dtype=torch.float64)
        product *= factor.clamp_min(0.0) ** weight
    return product


def _halve(x: Tensor) -> Tensor:
    # An odd side gets a zero row in front that counts in the mean, as in pytorch-msssim.
    padding = [side % 2 for side in x.shape[-2:]]
    return F.avg_pool2d(x, kernel_size=2, padding=padding)
