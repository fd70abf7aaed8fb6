"""Definitions of the reconstruction metrics: all that changes a number, named and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...harness.record import Definition
from ...harness.statistics import bootstrap, halves
from ...harness.task import Plan
from .features import Space

PER_IMAGE = ("psnr", "ssim", "ssim_u7", "ms_ssim")
"""Scores of one image, averaged over images; the order of the per-image table."""

BOOTSTRAP = {"rule": bootstrap.RULE, "replicates": bootstrap.REPLICATES}
HALVES = {"rule": halves.RULE, "halves": halves.HALVES, "interval": "1.96 SD"}

_FORMULAS: dict[str, tuple[str, dict[str, Any]]] = {
    "psnr": (
        "psnr-rgb-u8-1",
        {
            "range": 255,
            "error": "MSE over height, width and RGB",
            "mean": "over images",
            "cap": 100,
        },
    ),
    "ssim": (
        "ssim-gauss11-1",
        {
            "range": 255,
            "window": "Gaussian 11x11, sigma 1.5",
            "k": [0.01, 0.03],
            "covariance": "population",
            "region": "valid",
            "channels": "each of RGB, then mean",
        },
    ),
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
}


def image_facts(plan: Plan) -> dict[str, Any]:
    """What all reconstruction metrics depend on: the images and their way to bytes."""
    return {
        "resolution": plan.resolution,
        "ingest": plan.ingest_rule,
        "split": plan.split,
        "limit": plan.limit,
        "output": "clamped to [0, 1] once, times 255, rounded half to even",
    }


def definitions(plan: Plan, space: Space) -> Mapping[str, Definition]:
    """Definitions by metric name, for the feature space that this machine has."""
    images = image_facts(plan)
    made = {
        name: Definition(id=id_, facts=images | facts | {"bootstrap": BOOTSTRAP})
        for name, (id_, facts) in _FORMULAS.items()
    }
    features = images | {"extractor": dict(space.definition), "halves": HALVES}
    frechet = {"formula": "Frechet distance of fitted Gaussians, unbiased covariances, float64"}
    kernel = {"formula": "unbiased polynomial MMD, degree 3, gamma 1/d, all images"}
    made[space.frechet] = Definition(id=f"frechet-{space.name}-1", facts=features | frechet)
    made[space.kernel] = Definition(id=f"kid-{space.name}-1", facts=features | kernel)
    for name in space.absent:
        made[name] = Definition(id=f"{name}-absent-1", facts=images | {"needs": space.needs})
    codes = images | {"pooled": "over the group's images"}
    made["usage"] = Definition(id="usage-1", facts=codes | {"mean": "over codebooks"})
    entropy = {"formula": "sum over codebooks, Miller-Madow, bits per position"}
    made["entropy"] = Definition(id="entropy-mm-1", facts=codes | entropy)
    made["effective_bits_per_pixel"] = Definition(
        id="effective-bpp-mm-1", facts=codes | entropy | {"scaled": "positions / pixels"}
    )
    rate = {"rate": "K L log2(V); continuous: 16 bits a number; codecs: measured bytes, mean"}
    made["bits_per_image"] = Definition(id="bits-per-image-1", facts=images | rate)
    made["bits_per_pixel"] = Definition(id="bits-per-pixel-1", facts=images | rate)
    return made
