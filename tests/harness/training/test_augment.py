from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training.augment import Augmentation, CropSource, recolour, turn

NONE = Augmentation(
    natural_scale=1.0,
    zoom=(0.5, 2.0),
    blend=0.0,
    grey=0.0,
    duotone=0.0,
    shift=0.0,
    invert=0.0,
    gamma=0.0,
    contrast=0.0,
)
ALL = replace(
    NONE,
    natural_scale=0.5,
    blend=0.3,
    grey=0.2,
    duotone=0.3,
    shift=0.5,
    invert=0.3,
    gamma=0.5,
    contrast=0.5,
)


def pool(value: int | None = None) -> np.ndarray:
    if value is not None:
        return np.full((3, 64, 64, 3), value, np.uint8)
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_batches_follow_from_the_generator_alone() -> None:
    source = CropSource([pool()], [1.0], ALL)
    first = source.batch(6, 32, generator(5))
    torch.rand(10)
    assert torch.equal(first, source.batch(6, 32, generator(5)))
    assert not torch.equal(first, source.batch(6, 32, generator(6)))


def test_crops_have_the_asked_shape_and_range_at_any_zoom() -> None:
    source = CropSource([pool()], [1.0], replace(ALL, natural_scale=0.0, zoom=(0.3, 4.0)))
    batch = source.batch(24, 48, generator())
    assert batch.shape == (24, 3, 48, 48)
    assert batch.dtype == torch.float32
    assert 0 <= batch.min() < batch.max() <= 1


def test_a_whole_image_at_its_own_scale_is_one_of_its_eight_turns() -> None:
    images = pool()
    crops = CropSource([images], [1.0], NONE).batch(8, 64, generator())
    plain = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    turns = torch.stack([turn(image, k) for image in plain for k in range(8)])
    for crop in crops:
        assert any(torch.equal(crop, turned) for turned in turns)


def test_pools_are_drawn_from_by_their_shares() -> None:
    source = CropSource([pool(0), pool(255)], [0.25, 0.75], NONE)
    bright = source.batch(400, 16, generator()).mean(dim=(1, 2, 3)) > 0.5
    assert 0.68 < bright.float().mean() < 0.82


def test_grey_images_have_three_equal_channels() -> None:
    image = torch.rand(3, 8, 8, generator=generator())
    grey = recolour(image, replace(ALL, grey=1.0), generator())
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_duotones_lie_on_a_line_between_two_colours() -> None:
    image = torch.rand(3, 8, 8, generator=generator())
    only = replace(NONE, duotone=1.0)
    pixels = recolour(image, only, generator()).flatten(1).T.double()
    spread = torch.linalg.svdvals(pixels - pixels.mean(dim=0))
    assert spread[1] < 1e-5 * spread[0]


@pytest.mark.parametrize("shares", [[], [1.0, 2.0], [-1.0], [0.0]])
def test_shares_that_do_not_fit_the_pools_are_refused(shares) -> None:
    with pytest.raises(UsageError, match="share"):
        CropSource([pool()], shares, NONE)


def test_the_eight_turns_are_all_different() -> None:
    image = torch.arange(9.0).reshape(1, 3, 3)
    assert len({tuple(turn(image, k).flatten().tolist()) for k in range(8)}) == 8
