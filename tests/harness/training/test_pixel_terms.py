from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medbench.harness.training.pixel_terms import PixelTerms, pixel_terms, structure_loss

NONE = dict.fromkeys(("l1", "l2", "log_l2", "coarse", "chroma", "structure"), 0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A reconstruction and its image (3, 3, 32, 40), with errors of unlike sizes."""
    images = torch.rand(3, 3, 32, 40, generator=generator()) * 2 - 1
    noise = torch.randn(images.shape, generator=generator(1))
    return images + torch.tensor([0.01, 0.1, 0.5])[:, None, None, None] * noise, images


def only(name: str, weight: float, step: int = 0, **more) -> float:
    rec, images = pair()
    terms = pixel_terms(rec, images, PixelTerms(**{**NONE, name: weight, **more}), step)
    assert list(terms) == [name]
    return float(terms[name])


def blocks(error: np.ndarray) -> np.ndarray:
    n, c, h, w = error.shape
    return error.reshape(n, c, h // 8, 8, w // 8, 8).mean(axis=(3, 5))


def test_each_term_is_its_definition() -> None:
    rec, images = (x.double().numpy() for x in pair())
    error = rec - images
    squares = (error**2).mean(axis=(1, 2, 3))
    assert only("l1", 0.2) == pytest.approx(0.2 * np.abs(error).mean(), rel=1e-5)
    assert only("l2", 2.0) == pytest.approx(2 * squares.mean(), rel=1e-5)
    assert only("log_l2", 0.5) == pytest.approx(0.5 * np.log(squares + 5e-4).mean(), rel=1e-5)
    coarse = (blocks(error) ** 2).mean(axis=(1, 2, 3))
    assert only("coarse", 3.0) == pytest.approx(3 * np.log(coarse + 1e-4).mean(), rel=1e-4)
    tint = error - error.mean(axis=1, keepdims=True)
    chroma = (blocks(tint) ** 2).mean(axis=(1, 2, 3))
    assert only("chroma", 3.0) == pytest.approx(3 * np.log(chroma + 1e-4).mean(), rel=1e-4)


def test_terms_of_weight_zero_are_left_out_and_the_defaults_are_the_published_ones() -> None:
    rec, images = pair()
    assert pixel_terms(rec, images, PixelTerms(**NONE), 0) == {}
    terms = pixel_terms(rec, images, PixelTerms(), 0)
    torch.testing.assert_close(terms["l1"], 0.2 * F.l1_loss(rec, images))
    torch.testing.assert_close(terms["l2"], F.mse_loss(rec, images))
    assert set(terms) == {"l1", "l2"}


def test_colour_counts_from_its_step_on_and_not_in_grey_errors() -> None:
    images = torch.rand(2, 3, 32, 32, generator=generator()) - 0.5
    weights = PixelTerms(**{**NONE, "chroma": 0.1, "chroma_from": 5})
    grey, red = images + 0.2, images.clone()
    red[:, 0] += 0.2
    assert pixel_terms(grey, images, weights, 4) == {}
    found = float(pixel_terms(grey, images, weights, 5)["chroma"])
    assert found == pytest.approx(0.1 * np.log(1e-4), rel=1e-3)
    # An error of 0.2 in one channel is 0.2 * (2, -1, -1) / 3 beside its mean.
    found = float(pixel_terms(red, images, weights, 5)["chroma"])
    assert found == pytest.approx(0.1 * np.log(0.04 * 6 / 27 + 1e-4), rel=1e-3)


@pytest.mark.parametrize("name", list(NONE))
def test_a_term_of_a_batch_is_the_mean_of_its_images(name) -> None:
    rec, images = pair()
    weights = PixelTerms(**{**NONE, name: 1.0})
    whole = pixel_terms(rec, images, weights, 0)[name]
    each = [pixel_terms(rec[k : k + 1], images[k : k + 1], weights, 0)[name] for k in range(3)]
    torch.testing.assert_close(whole, torch.stack(each).mean())


def ssim_by_hand(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM of a channel in [-1, 1] over 8x8 windows at stride 4, written out."""
    values = []
    for top in range(0, first.shape[0] - 7, 4):
        for left in range(0, first.shape[1] - 7, 4):
            a = first[top : top + 8, left : left + 8].astype(np.float64)
            b = second[top : top + 8, left : left + 8].astype(np.float64)
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            c1, c2 = 0.02**2, 0.06**2
            bright = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
            values.append(bright * (2 * covariance + c2) / (a.var() + b.var() + c2))
    return float(np.mean(values))


def test_structure_loss_is_one_minus_ssim_over_three_scales() -> None:
    first = torch.rand(2, 3, 40, 48, generator=generator()) * 2 - 1
    second = 0.7 * first + 0.3 * torch.randn(2, 3, 40, 48, generator=generator(1))
    expected = []
    for scale in (1, 2, 4):
        a, b = (F.avg_pool2d(x, scale).numpy() for x in (first, second))
        pairs = zip(a.reshape(6, *a.shape[2:]), b.reshape(6, *b.shape[2:]), strict=True)
        expected.append(1 - np.mean([ssim_by_hand(x, y) for x, y in pairs]))
    assert float(structure_loss(first, second)) == pytest.approx(np.mean(expected), abs=1e-4)
    assert float(structure_loss(first, first)) == pytest.approx(0, abs=1e-6)
