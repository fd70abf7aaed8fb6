from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medbench.harness.curation.image_filters import reject_image
from medbench.harness.curation.thresholds import packaged_thresholds

THRESHOLDS = packaged_thresholds().meditok


def checks(image: np.ndarray) -> dict[str, bool]:
    """Every filter on its own, by other means than the code's."""
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=float).ravel()
    low, high = np.sort(grey)[[int(0.005 * grey.size), int(0.995 * grey.size) - 1]]
    return {
        "minimum-side": min(image.shape[:2]) < 128,
        "dynamic-range": high - low < 32,
        "standard-deviation": grey.std() < 5,
        "palette": len({tuple(p) for p in image.reshape(-1, image.shape[-1]).tolist()}) < 32,
    }


@pytest.mark.parametrize(
    "reason", ["minimum-side", "dynamic-range", "standard-deviation", "palette"]
)
def test_each_planted_image_breaks_its_own_filter_and_no_other(reason, planted_images):
    image = planted_images[reason]
    broken = [name for name, is_broken in checks(image).items() if is_broken]
    assert broken == [reason]
    rejection = reject_image(image, THRESHOLDS)
    assert rejection is not None
    assert rejection.reason == reason


def test_a_good_image_passes_in_colour_and_in_grey(texture):
    image = texture()
    assert reject_image(image, THRESHOLDS) is None
    assert reject_image(image[..., 0], THRESHOLDS) is None


def test_no_real_image_is_rejected(real_data):
    reasons = [
        reject_image(np.asarray(Image.open(path).convert("RGB")), THRESHOLDS)
        for path in sorted((real_data / "recon").glob("*/*.png"))
    ]
    assert len(reasons) > 200
    assert not any(reasons)
