from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.metrics.channels import channel_disagreement


def grey(rng, count=2):
    return np.repeat(rng.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8), 3, axis=3)


def test_grey_reconstructions_of_grey_images_disagree_in_nothing(rng):
    assert channel_disagreement(grey(rng), grey(rng)).tolist() == [0, 0]


def test_it_is_the_mean_over_pixels_and_pairs_of_channels(rng):
    back = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    want = [
        np.mean(
            [abs(b[..., i].astype(float) - b[..., j]).mean() for i, j in ((0, 1), (1, 2), (0, 2))]
        )
        / 255
        for b in back
    ]
    np.testing.assert_allclose(channel_disagreement(grey(rng), back), want, rtol=1e-12)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_an_original_with_one_coloured_pixel_is_not_grey(rng, channel):
    images = grey(rng)
    images[1, 3, 5, channel] ^= 1
    found = channel_disagreement(images, images)
    assert found[0] == 0
    assert np.isnan(found[1])
