"""All-pairs diversity against pytorch-msssim, pair by pair."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import pytorch_msssim
import torch
from scipy.ndimage import gaussian_filter

from medbench.harness.errors import MetricError
from medbench.harness.metrics.diversity import diversity, pair_scores
from medbench.harness.metrics.ms_ssim import ms_ssim
from medbench.harness.metrics.ssim import GAUSSIAN_WINDOW


def _images(rng, count, side):
    found = []
    for index in range(count):
        noise = gaussian_filter(rng.normal(size=(side, side, 3)), (1 + 3 * index, 2 + index, 0))
        found.append((noise - noise.min()) / np.ptp(noise) * 255)
    return np.stack(found).astype(np.uint8)


@pytest.mark.parametrize("side", [161, 177, 256, 300])  # 300: in two strips
def test_pairs_are_those_of_pytorch_msssim(rng, side):
    images = _images(rng, 5, side)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    wanted = [
        float(pytorch_msssim.ms_ssim(x[i : i + 1], x[j : j + 1], data_range=255))
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    np.testing.assert_allclose(pair_scores(images), wanted, atol=1e-5, rtol=0)
    assert diversity(images) == pytest.approx(1 - np.mean(wanted), abs=1e-5)


def test_pairs_are_exact_where_images_are_bright_and_smooth(rng):
    # The peer's default window is rounded to float32 and costs it 1e-5 here; ours may not.
    noise = [gaussian_filter(rng.normal(size=(256, 256, 3)), (9, 9, 0)) for _ in range(3)]
    images = np.stack([200 + n / np.abs(n).max() * 55 for n in noise]).astype(np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    window = torch.tensor(GAUSSIAN_WINDOW, dtype=torch.float64).repeat(3, 1, 1, 1)
    wanted = [
        float(pytorch_msssim.ms_ssim(x[i : i + 1], x[j : j + 1], data_range=255, win=window))
        for i, j in [(0, 1), (0, 2), (1, 2)]
    ]
    np.testing.assert_allclose(pair_scores(images), wanted, atol=2e-7, rtol=0)


def test_pairs_are_those_of_our_own_ms_ssim(rng):
    images = _images(rng, 4, 256)
    first, second = np.triu_indices(4, 1)
    wanted = ms_ssim(images[first], images[second])
    np.testing.assert_allclose(pair_scores(images), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [161, 256, 300])
def test_many_pairs_score_the_same_compiled_and_not(rng, side, monkeypatch):
    pytest.importorskip("numba", reason="needs the extra fast: pip install 'medbench[fast]'")
    images = _images(rng, 6, side)
    images[1] = images[0]
    images[2] = 0
    monkeypatch.setattr("medbench.harness.metrics.diversity._MANY", 1)
    compiled = pair_scores(images)
    monkeypatch.setitem(sys.modules, "medbench.harness.metrics.compiled_pairs", None)
    np.testing.assert_allclose(compiled, pair_scores(images), rtol=0, atol=1e-7)
    assert compiled[0] == pytest.approx(1.0, abs=1e-6)


def test_equal_images_have_no_diversity_and_flat_ones_are_no_problem():
    flat = np.full((3, 256, 256, 3), 255, dtype=np.uint8)
    assert diversity(flat) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 256, 256, 3), np.uint8), "at least two images"),
        (np.zeros((3, 160, 160, 3), np.uint8), "at least 161"),
        (np.zeros((3, 256, 256, 3), np.float32), "uint8"),
    ],
)
def test_refuses_what_gives_no_number(images, words):
    with pytest.raises(MetricError, match=words):
        diversity(images)
