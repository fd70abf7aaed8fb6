from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medbench.harness.training.diff_augment import Changes, blurred


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 5, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=generator(9)) * 2 - 1


def changed_by_hand(image: np.ndarray, amounts: np.ndarray, kinds: tuple[bool, ...]) -> np.ndarray:
    """One image (3, H, W), changed step by step in float64 with loops."""
    _, height, width = image.shape
    shift, recolour, cut = kinds
    if shift:
        most_y, most_x = round(height / 8), round(width / 8)
        down = int(amounts[0] * (2 * most_y + 1)) - most_y
        right = int(amounts[1] * (2 * most_x + 1)) - most_x
        image = ndimage.shift(image, (0, down, right), order=0, cval=0.0, prefilter=False)
    if recolour:
        image = image + amounts[2] - 0.5
        image = image.mean(axis=0) + 2 * amounts[3] * (image - image.mean(axis=0))
        image = image.mean() + (0.5 + amounts[4]) * (image - image.mean())
    if cut:
        image = image.copy()
        tall, wide = round(height * 0.2), round(width * 0.2)
        middle_y = int(amounts[5] * (height + 1 - tall % 2))
        middle_x = int(amounts[6] * (width + 1 - wide % 2))
        for y in range(middle_y - tall // 2, middle_y - tall // 2 + tall):
            for x in range(middle_x - wide // 2, middle_x - wide // 2 + wide):
                if 0 <= y < height and 0 <= x < width:
                    image[:, y, x] = 0
    return image


@pytest.mark.parametrize("side", [(24, 32), (17, 25), (64, 64)])
@pytest.mark.parametrize(
    "kinds", [(True,) * 3, (True, False, False), (False, True, False), (False, False, True)]
)
def test_changes_equal_each_image_changed_by_itself(side, kinds) -> None:
    batch = images(8, *side)
    drawn = Changes.draw(8, generator(3))
    found = Changes(*kinds, drawn.amounts).apply(batch).numpy()
    for index, image in enumerate(batch.double().numpy()):
        wanted = changed_by_hand(image, drawn.amounts[:, index].double().numpy(), kinds)
        np.testing.assert_allclose(found[index], wanted, atol=2e-6)


def test_rows_of_a_batchs_changes_are_those_of_its_images() -> None:
    batch = images(6)
    drawn = Changes.draw(6, generator())
    whole = drawn.apply(batch)
    parts = [drawn.rows(rows).apply(batch[rows]) for rows in (slice(0, 2), slice(2, 6))]
    assert torch.equal(torch.cat(parts), whole)


def test_each_kind_of_change_comes_with_its_probability() -> None:
    source = generator()
    draws = [Changes.draw(1, source, probability=0.3) for _ in range(2000)]
    for kind in ("shift", "recolour", "cut"):
        assert np.mean([getattr(draw, kind) for draw in draws]) == pytest.approx(0.3, abs=0.035)
    never = Changes.draw(2, source, probability=0.0)
    assert torch.equal(never.apply(images(2)), images(2))


@pytest.mark.parametrize("fade", [1.0, 0.6, 0.31])
def test_the_blur_equals_a_mirrored_convolution(fade) -> None:
    batch = images(2, 48, 40)
    sigma = np.sqrt(48 / 2) * fade
    radius = int(3 * sigma)
    kernel = 2.0 ** -((np.arange(-radius, radius + 1) / sigma) ** 2)
    wanted = batch.double().numpy()
    for axis in (2, 3):
        wanted = ndimage.convolve1d(wanted, kernel / kernel.sum(), axis=axis, mode="mirror")
    np.testing.assert_allclose(blurred(batch, fade).numpy(), wanted, atol=2e-6)


def test_the_blur_takes_a_wave_by_the_transfer_function_of_its_kernel() -> None:
    # 2^-((t/σ)²) is a Gaussian of variance σ² / (2 ln 2).
    side, cycles = 128, 4
    frequency = np.pi * cycles / (side - 1)  # whole half waves between the mirrors
    wave = torch.cos(torch.arange(side) * frequency).expand(1, 3, side, side)
    variance = (side / 2) / (2 * np.log(2))
    expected = np.exp(-variance * frequency**2 / 2)
    found = blurred(wave, 1.0)
    assert float(found[0, 0, 5, 0]) == pytest.approx(expected, abs=2e-3)


def test_no_fade_leaves_images_alone() -> None:
    batch = images()
    assert blurred(batch, 0.0) is batch
    assert blurred(batch, 0.05) is batch  # a radius below one pixel


def test_gradients_reach_all_pixels_that_stay() -> None:
    batch = images(2, 32, 32).requires_grad_()
    drawn = Changes.draw(2, generator(1))
    drawn.apply(blurred(batch, 0.4)).square().sum().backward()
    assert batch.grad is not None
    assert torch.isfinite(batch.grad).all()
    assert (batch.grad != 0).float().mean() > 0.6
