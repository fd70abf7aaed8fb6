from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from medbench.harness.errors import MetricError
from medbench.harness.metrics.psnr import PSNR_CAP, psnr


@pytest.fixture
def pair(rng):
    x = rng.integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    noise = rng.integers(-1, 2, x.shape) * np.array([1, 2, 5, 20, 90, 255]).reshape(-1, 1, 1, 1)
    return x, np.clip(x + noise, 0, 255).astype(np.uint8)


def test_agrees_with_scikit_image(pair):
    want = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(*pair, strict=True)]
    np.testing.assert_allclose(psnr(*pair), want, rtol=0, atol=1e-10)


def test_is_the_closed_form_for_a_constant_offset():
    x = np.full((1, 8, 8, 3), 100, dtype=np.uint8)
    assert psnr(x, x + 5)[0] == pytest.approx(20 * np.log10(255 / 5), abs=1e-12)


def test_pools_the_channels_before_the_logarithm():
    x = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    y = x.copy()
    y[..., 0] = 30
    assert psnr(x, y)[0] == pytest.approx(10 * np.log10(255**2 / 300), abs=1e-12)


def test_is_zero_for_black_against_white():
    x = np.zeros((1, 256, 256, 3), dtype=np.uint8)
    assert psnr(x, x + 255)[0] == 0.0


def test_caps_an_exact_copy():
    x = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    assert psnr(x, x).tolist() == [PSNR_CAP, PSNR_CAP] == [100.0, 100.0]


def test_caps_the_one_finite_value_above_the_cap():
    x = np.zeros((1, 256, 256, 3), dtype=np.uint8)
    y = x.copy()
    y[0, 3, 4, 1] = 1
    assert 10 * np.log10(255**2 * x.size) > PSNR_CAP
    assert psnr(x, y)[0] == PSNR_CAP


def test_gives_one_value_per_image_and_not_that_of_the_pooled_error(pair):
    values = psnr(*pair)
    pooled = 10 * np.log10(255**2 / np.mean((pair[0].astype(float) - pair[1]) ** 2))
    assert values.shape == (6,)
    assert values.dtype == np.float64
    assert abs(values.mean() - pooled) > 1.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.astype(np.float32), "uint8"),
        (lambda x: x.astype(np.int16), "int16"),
        (lambda x: x[0], "shape"),
        (lambda x: x[..., :1], "three channels"),
        (lambda x: x[:0], "shape"),
        (lambda x: x[:1], "differ in shape"),
        (lambda x: x.tolist(), "list"),
    ],
)
def test_refuses_what_is_no_pair_of_images(rng, spoil, message):
    x = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(MetricError, match=message):
        psnr(x, spoil(x))
