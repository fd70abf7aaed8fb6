"""Formulas of the scores of single images, as definitions state them."""

from __future__ import annotations

from typing import Any

PER_IMAGE = ("psnr", "ssim", "ssim_u7", "ms_ssim")
"""Scores that every image has; the order of the per-image table."""
LESIONS = ("psnr_lesion", "ssim_lesion", "psnr_border", "ssim_border")
"""Scores of images with a lesion mask."""

_SSIM = {
    "range": 255,
    "window": "Gaussian 11x11, sigma 1.5",
    "k": [0.01, 0.03],
    "covariance": "population",
    "region": "valid",
    "channels": "each of RGB, then mean",
}
_REGIONS = {
    "lesion": "pixels of the mask",
    "border": "pixels within 4 of the mask's outline, on either side",
}

PER_IMAGE_FORMULAS: dict[str, tuple[str, dict[str, Any]]] = {
    "psnr": (
        "psnr-rgb-u8-1",
        {
            "range": 255,
            "error": "MSE over height, width and RGB",
            "mean": "over images",
            "cap": 100,
        },
    ),
    "ssim": ("ssim-gauss11-1", _SSIM),
    "ssim_u7": (
        "ssim-uniform7-1",
        {
            "range": 255,
            "window": "uniform 7x7",
            "k": [0.01, 0.03],
            "covariance": "sample",
            "region": "valid",
            "channels": "each of RGB, then mean",
        },
    ),
    "ms_ssim": (
        "ms-ssim-5-1",
        {
            "range": 255,
            "window": "Gaussian 11x11, sigma 1.5",
            "weights": [0.0448, 0.2856, 0.3001, 0.2363, 0.1333],
            "channels": "clip and multiply per channel, then mean",
        },
    ),
    "channel_disagreement": (
        "channel-disagreement-1",
        {
            "images": "those whose original has R = G = B everywhere",
            "formula": "mean over pixels and pairs of channels of the absolute difference, of 255",
        },
    ),
    **{
        f"psnr_{region}": (
            f"psnr-{region}-1",
            {"range": 255, "error": "MSE over the region and RGB", "region": text, "cap": 100},
        )
        for region, text in _REGIONS.items()
    },
    **{
        f"ssim_{region}": (f"ssim-{region}-1", _SSIM | {"mean": f"over {text}"})
        for region, text in _REGIONS.items()
    },
}
"""Definition id and facts of each score."""
