"""Scores inside lesion masks and along their outlines, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medbench.harness.errors import MetricError
from medbench.harness.metrics.lesions import BAND, NAMES, border_band, lesion_scores


@pytest.fixture
def pair(rng):
    reference = rng.integers(0, 256, (3, 48, 52, 3), dtype=np.uint8)
    noise = rng.integers(-30, 31, reference.shape)
    return reference, np.clip(reference + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def masks():
    found = np.zeros((3, 48, 52), dtype=np.bool_)
    found[0, 15:30, 20:40] = True
    found[2, 0:3, 0:3] = True
    return found


def by_hand(mask):
    """Every pixel's distance to the nearest pixel of the other side."""
    y, x = np.indices(mask.shape)
    band = np.zeros_like(mask)
    for row, column in np.ndindex(mask.shape):
        other = mask != mask[row, column]
        gaps = (y[other] - row) ** 2 + (x[other] - column) ** 2
        band[row, column] = gaps.min() <= BAND**2
    return band


def test_the_band_is_within_four_pixels_of_the_outline(masks):
    masks[0, 20:25, 28:33] = False  # a hole has an outline too
    for mask in masks[[0, 2]]:
        np.testing.assert_array_equal(border_band(mask), by_hand(mask))


def test_scores_are_those_of_the_pixels_of_the_region(pair, masks):
    reference, candidate = pair
    scores = lesion_scores(reference, candidate, masks)
    _, similarity = structural_similarity(
        reference[0],
        candidate[0],
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    for region, inside in (("lesion", masks[0]), ("border", border_band(masks[0]))):
        want = peak_signal_noise_ratio(reference[0][inside], candidate[0][inside], data_range=255)
        assert scores[f"psnr_{region}"][0] == pytest.approx(want, abs=1e-9)
        want = similarity.mean(axis=2)[inside].mean()
        assert scores[f"ssim_{region}"][0] == pytest.approx(want, abs=1e-5)


def test_images_without_a_lesion_have_no_score(pair, masks):
    scores = lesion_scores(*pair, masks)
    assert set(scores) == set(NAMES)
    assert all(np.isnan(values[1]) for values in scores.values())


def test_a_lesion_too_near_the_edge_for_the_window_has_psnr_only(pair, masks):
    scores = lesion_scores(*pair, masks)
    assert np.isfinite(scores["psnr_lesion"][2])
    assert np.isnan(scores["ssim_lesion"][2])


def test_copies_score_the_cap_and_one(pair, masks):
    scores = lesion_scores(pair[0], pair[0], masks)
    assert scores["psnr_lesion"][0] == 100
    assert scores["ssim_border"][0] == 1


def test_a_mask_that_covers_the_image_has_no_border(pair, masks):
    masks[1] = True
    scores = lesion_scores(*pair, masks)
    assert np.isfinite(scores["psnr_lesion"][1])
    assert np.isnan(scores["psnr_border"][1])


@pytest.mark.parametrize("bad", [np.zeros((3, 48, 52), np.uint8), np.zeros((3, 48, 48), np.bool_)])
def test_masks_that_do_not_fit_are_refused(pair, bad):
    with pytest.raises(MetricError, match="masks must be bool"):
        lesion_scores(*pair, bad)
