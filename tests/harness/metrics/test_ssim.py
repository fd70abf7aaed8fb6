from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from medbench.harness.errors import MetricError
from medbench.harness.metrics.ssim import ssim, ssim_u7

TOLERANCE = 1e-5


def by_scikit_image(reference, candidate, **options):
    pairs = zip(reference, candidate, strict=True)
    return [
        structural_similarity(a, b, data_range=255, channel_axis=2, **options) for a, b in pairs
    ]


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
BOTH = pytest.mark.parametrize(("metric", "options"), [(ssim, GAUSSIAN), (ssim_u7, {})])


def smooth(rng, shape):
    noise = gaussian_filter(rng.normal(size=shape), (0, 4, 4, 0))
    return np.clip(noise / noise.std() * 50 + 128, 0, 255).round().astype(np.uint8)


def disturbed(images, rng, level):
    return np.clip(images + rng.normal(0, level, images.shape), 0, 255).round().astype(np.uint8)


@BOTH
@pytest.mark.parametrize("level", [1, 8, 60])
def test_agrees_with_scikit_image(rng, metric, options, level):
    x = smooth(rng, (3, 96, 80, 3))
    y = disturbed(x, rng, level)
    want = by_scikit_image(x, y, **options)
    np.testing.assert_allclose(metric(x, y), want, rtol=0, atol=TOLERANCE)


@BOTH
@pytest.mark.parametrize("grey", [0, 40, 255])
def test_agrees_with_scikit_image_where_float32_is_weakest(rng, metric, options, grey):
    """Flat areas with faint noise: the variances are small differences of large squares."""
    x = np.full((1, 128, 128, 3), grey, dtype=np.uint8)
    x[:, :, 64:] = 255
    y = disturbed(x, rng, 2)
    want = by_scikit_image(x, y, **options)
    np.testing.assert_allclose(metric(x, y), want, rtol=0, atol=TOLERANCE)


@BOTH
def test_agrees_with_scikit_image_on_unrelated_images(rng, metric, options):
    x, y = rng.integers(0, 256, (2, 3, 64, 64, 3), dtype=np.uint8)
    want = by_scikit_image(x, y, **options)
    np.testing.assert_allclose(metric(x, y), want, rtol=0, atol=TOLERANCE)


def test_the_two_windows_are_two_definitions(rng):
    x = smooth(rng, (1, 96, 96, 3))
    y = disturbed(x, rng, 8)
    assert abs(ssim(x, y) - ssim_u7(x, y))[0] > 1e-3


@pytest.mark.parametrize("metric", [ssim, ssim_u7])
def test_is_exactly_one_for_equal_images(rng, metric):
    x = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert metric(x, x).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("metric", [ssim, ssim_u7])
def test_does_not_depend_on_the_other_images(rng, metric):
    x = smooth(rng, (5, 64, 64, 3))
    y = disturbed(x, rng, 10)
    alone = np.concatenate([metric(x[i : i + 1], y[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(metric(x, y), alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("metric", [ssim, ssim_u7])
def test_falls_as_noise_grows(rng, metric):
    x = smooth(rng, (1, 64, 64, 3))
    values = [metric(x, disturbed(x, rng, level))[0] for level in (2, 5, 15, 40)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(("metric", "side"), [(ssim, 11), (ssim_u7, 7)])
def test_needs_images_that_hold_the_window(rng, metric, side):
    x, y = rng.integers(0, 256, (2, 1, side, side, 3), dtype=np.uint8)
    assert np.isfinite(metric(x, y)).all()
    with pytest.raises(MetricError, match=f"at least {side}"):
        metric(x[:, 1:], y[:, 1:])
