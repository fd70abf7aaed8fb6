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

from .image_pairs import check_image_pairs
from .packed_pairs import PackedPairs, Similarity, packed_pairs
from .ssim import GAUSSIAN_WINDOW, UNIFORM_WINDOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the finest scale to the coarsest."""

SMALLEST_SIDE = (len(GAUSSIAN_WINDOW) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""161 pixels: below that the window does not fit into the coarsest scale."""


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
    return structural_similarities(reference, candidate)["ms_ssim"]


@torch.inference_mode()
def structural_similarities(
    reference: NDArray[np.uint8], candidate: NDArray[np.uint8], *, uniform: bool = False
) -> dict[str, NDArray[np.float64]]:
    """`ssim` and `ms_ssim` of each pair in one pass, with `uniform` `ssim_u7` too.

    SSIM is the first scale of MS-SSIM, so it costs nothing more. Arguments and errors are those
    of `ms_ssim`, values those of the functions of these names.
    """
    check_image_pairs(reference, candidate, smallest_side=SMALLEST_SIDE)
    names = ("ssim", "ssim_u7", "ms_ssim") if uniform else ("ssim", "ms_ssim")
    values = {name: np.empty(len(reference), dtype=np.float64) for name in names}
    for rows, pairs in packed_pairs(reference, candidate):
        finest = pairs.similarity(GAUSSIAN_WINDOW)
        values["ssim"][rows] = finest.whole.mean(dim=1).numpy()
        values["ms_ssim"][rows] = _per_channel(pairs, finest).mean(dim=1).numpy()
        if uniform:
            under_seven = pairs.similarity(UNIFORM_WINDOW, sample=True)
            values["ssim_u7"][rows] = under_seven.whole.mean(dim=1).numpy()
    # Rounding can lead past 1 by 1e-8; MS-SSIM is never negative.
    return {name: found.clip(-1.0, 1.0) for name, found in values.items()}


def _per_channel(pairs: PackedPairs, finest: Similarity) -> Tensor:
    """MS-SSIM of each image and channel, float64 (n, 3), given its first scale."""
    factors = [finest.structure]
    for _ in SCALE_WEIGHTS[1:]:
        pairs = pairs.halved()
        similarity = pairs.similarity(GAUSSIAN_WINDOW)
        factors.append(similarity.structure)
    factors[-1] = similarity.whole
    weights = torch.tensor(SCALE_WEIGHTS, dtype=torch.float64)[:, None, None]
    return (torch.stack(factors).clamp_min(0.0) ** weights).prod(dim=0)
