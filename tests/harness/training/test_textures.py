from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.training.textures import texture


@pytest.mark.parametrize("seed", range(12))
def test_an_image_is_a_pure_function_of_its_generator(seed) -> None:
    first = texture(np.random.default_rng(seed), 64)
    second = texture(np.random.default_rng(seed), 64)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)


def test_images_differ_in_content_colour_and_brightness() -> None:
    images = np.stack([texture(np.random.default_rng(seed), 48) for seed in range(40)]).astype(
        float
    )
    brightness = images.mean(axis=(1, 2, 3))
    detail = images.std(axis=(1, 2)).mean(axis=1)
    colour = np.ptp(images, axis=3).mean(axis=(1, 2))
    assert brightness.std() > 20
    assert np.ptp(detail) > 40
    assert (colour < 5).sum() > 2
    assert (colour > 30).sum() > 2
