from __future__ import annotations

import numpy as np
import pytest
import pytorch_msssim
import torch
from scipy.ndimage import gaussian_filter

from medbench.harness.errors import MetricError
from medbench.harness.metrics.ms_ssim import ms_ssim


def by_pytorch_msssim(reference, candidate):
    x, y = (torch.from_numpy(a).permute(0, 3, 1, 2).double() for a in (reference, candidate))
    return pytorch_msssim.ms_ssim(x, y, data_range=255, size_average=False).numpy()


def smooth(rng, shape):
    noise = gaussian_filter(rng.normal(size=shape), (0, 6, 6, 0))
    return np.clip(noise / noise.std() * 50 + 128, 0, 255).round().astype(np.uint8)


def disturbed(images, rng, level):
    return np.clip(images + rng.normal(0, level, images.shape), 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("level", [2, 20, 120])
def test_agrees_with_pytorch_msssim(rng, level):
    x = smooth(rng, (3, 256, 256, 3))
    y = disturbed(x, rng, level)
    np.testing.assert_allclose(ms_ssim(x, y), by_pytorch_msssim(x, y), rtol=0, atol=1e-5)


def test_agrees_with_pytorch_msssim_at_odd_sides(rng):
    x = smooth(rng, (1, 161, 183, 3))
    y = disturbed(x, rng, 20)
    np.testing.assert_allclose(ms_ssim(x, y), by_pytorch_msssim(x, y), rtol=0, atol=1e-5)


def test_clips_each_channel_before_the_mean_over_channels(rng):
    """One channel is inverted, so its contrast-structure term is negative and only it counts 0."""
    x = smooth(rng, (1, 176, 176, 3))
    y = disturbed(x, rng, 5)
    y[..., 1] = 255 - x[..., 1]
    value = ms_ssim(x, y)
    np.testing.assert_allclose(value, by_pytorch_msssim(x, y), rtol=0, atol=1e-5)
    assert 0.5 < value[0] < 2 / 3


def test_is_one_for_equal_images_and_within_the_unit_interval_for_noise(rng):
    x, y = rng.integers(0, 256, (2, 2, 161, 161, 3), dtype=np.uint8)
    assert ms_ssim(x, x).tolist() == [1.0, 1.0]
    assert ((ms_ssim(x, y) >= 0) & (ms_ssim(x, y) < 0.3)).all()


def test_is_symmetric_and_does_not_depend_on_the_other_images(rng):
    x = smooth(rng, (3, 161, 161, 3))
    y = disturbed(x, rng, 15)
    np.testing.assert_allclose(ms_ssim(x, y), ms_ssim(y, x), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ms_ssim(x, y)[2:], ms_ssim(x[2:], y[2:]), rtol=0, atol=1e-7)


def test_refuses_sides_that_five_scales_do_not_fit_into(rng):
    x = rng.integers(0, 256, (1, 160, 256, 3), dtype=np.uint8)
    with pytest.raises(MetricError, match=r"160×256 pixels.*at least 161"):
        ms_ssim(x, x)
