"""How well detail survives where it matters: inside lesion masks, and along their outlines.

A mean over the whole image hardly notices a lesion of one per cent of its area. PSNR and SSIM are
taken here over the pixels of the mask, and over the band of pixels within `BAND` of its outline on
either side, where blur shows first. In sets that mark other structures, the scores are of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from ..errors import MetricError
from .image_pairs import DATA_RANGE, check_image_pairs
from .packed_pairs import packed_pairs
from .psnr import PSNR_CAP
from .ssim import GAUSSIAN_WINDOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND = 4.0
"""Pixels of 256 on either side of the outline."""
NAMES = ("psnr_lesion", "ssim_lesion", "psnr_border", "ssim_border")
_REACH = len(GAUSSIAN_WINDOW) // 2


@torch.inference_mode()
def lesion_scores(
    reference: NDArray[np.uint8], candidate: NDArray[np.uint8], masks: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """The four scores of each pair.

    Args:
        reference: uint8 (N, H, W, 3).
        candidate: uint8 (N, H, W, 3), in the order of `reference`.
        masks: bool (N, H, W), true inside the lesion.

    Returns:
        float64 (N,) under each of `NAMES`, in dB and within [-1, 1]; NaN for images without a
        lesion, and for SSIM where no window around a pixel of the region fits into the image.

    Raises:
        MetricError: the arrays are no image pairs with masks.
    """
    check_image_pairs(reference, candidate, smallest_side=len(GAUSSIAN_WINDOW))
    if masks.dtype != np.bool_ or masks.shape != reference.shape[:3]:
        raise MetricError(
            f"masks must be bool of shape {reference.shape[:3]}, got {masks.dtype} {masks.shape}."
        )
    scores = {name: np.full(len(reference), np.nan) for name in NAMES}
    marked = np.flatnonzero(masks.any(axis=(1, 2)))
    for chunk, pairs in packed_pairs(reference[marked], candidate[marked]):
        similarity = pairs.ssim_map(GAUSSIAN_WINDOW).numpy()
        for column, row in enumerate(marked[chunk]):
            error = np.subtract(reference[row], candidate[row], dtype=np.int32)
            squared = np.einsum("hwc,hwc->hw", error, error)
            for region, inside in (("lesion", masks[row]), ("border", border_band(masks[row]))):
                if inside.any():
                    scores[f"psnr_{region}"][row] = _psnr(squared[inside])
                seen = inside[_REACH:-_REACH, _REACH:-_REACH]
                if seen.any():
                    values = similarity[..., column][seen]
                    scores[f"ssim_{region}"][row] = values.mean(dtype=np.float64).clip(-1.0, 1.0)
    return scores


def border_band(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels within `BAND` of a mask's outline, inside and outside; bool (H, W) twice."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = int(BAND) + 1
    # Distances further out are not asked for, and most of an image is further out.
    box = tuple(
        slice(max(0, int(each[0]) - margin), int(each[-1]) + margin + 1) for each in (rows, columns)
    )
    inside = mask[box]
    band = np.zeros_like(mask)
    band[box] = inside & (_distances(inside) <= BAND) | ~inside & (_distances(~inside) <= BAND)
    return band


def _distances(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel inside to the nearest one outside; far where nothing is outside."""
    if inside.all():
        return np.full(inside.shape, np.inf)
    return np.asarray(distance_transform_edt(inside))


def _psnr(squared: NDArray[np.int32]) -> float:
    """PSNR from squared errors summed over the channels of each pixel."""
    mse = float(squared.mean(dtype=np.float64)) / 3.0
    return PSNR_CAP if mse == 0.0 else min(PSNR_CAP, 10.0 * float(np.log10(DATA_RANGE**2 / mse)))
