"""SSIM and MS-SSIM against the libraries that people use, on 48 images of 256×256.

Peers get batches of 16 images, as evaluation code calls them, and then single images, which is
kinder to their caches.
"""

from __future__ import annotations

import numpy as np
import pytorch_msssim
import torchmetrics.functional.image as peers
from skimage.metrics import structural_similarity
from timing import compare

from medbench.harness.metrics.ms_ssim import ms_ssim, structural_similarities
from medbench.harness.metrics.ssim import planes, ssim

COUNT = 48


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (COUNT, 256, 256, 3), dtype=np.uint8)
    noise = rng.integers(-20, 21, reference.shape)
    candidate = (reference.astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    x, y = (planes(images) for images in (reference, candidate))

    def scikit() -> None:
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        for a, b in zip(reference, candidate, strict=True):
            structural_similarity(a, b, channel_axis=2, data_range=255, **options)

    def batches(metric, **options) -> None:
        for start in range(0, COUNT, batch):
            metric(x[start : start + batch], y[start : start + batch], **options)

    for batch in (16, 1):
        compare(
            f"SSIM, {COUNT} images, peers by {batch}",
            {
                "torchmetrics": lambda: batches(
                    peers.structural_similarity_index_measure, data_range=255.0
                ),
                "scikit-image": scikit,
                "pytorch-msssim": lambda: batches(pytorch_msssim.ssim, data_range=255),
                "medbench": lambda: ssim(reference, candidate),
            },
            peer="pytorch-msssim",
        )
        compare(
            f"MS-SSIM, {COUNT} images, peers by {batch}",
            {
                "torchmetrics": lambda: batches(
                    peers.multiscale_structural_similarity_index_measure, data_range=255.0
                ),
                "pytorch-msssim": lambda: batches(pytorch_msssim.ms_ssim, data_range=255),
                "medbench": lambda: ms_ssim(reference, candidate),
                "medbench, SSIM too": lambda: structural_similarities(reference, candidate),
            },
            peer="pytorch-msssim",
        )


if __name__ == "__main__":
    main()
