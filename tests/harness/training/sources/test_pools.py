from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training.augment import Augmentation, turn
from medbench.harness.training.pool import Told
from medbench.harness.training.sources.pools import PoolSource

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


@dataclass
class Images:
    """What a source asks of a pool."""

    images: np.ndarray

    @property
    def rows(self) -> list[Told]:
        return [Told(f"text {k}", f"label {k}", "ct") for k in range(len(self.images))]


def pool(value: int | None = None) -> Any:
    if value is not None:
        return Images(np.full((3, 64, 64, 3), value, np.uint8))
    return Images(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))


def images(source: PoolSource, count: int, side: int) -> torch.Tensor:
    return torch.stack([source.sample(position, side).image for position in range(count)])


def test_an_image_follows_from_seed_and_position_alone() -> None:
    source = PoolSource([pool()], [1.0], ALL, seed=4)
    third = source.sample(3, 32)
    source.sample(9, 32)
    torch.rand(10)
    again = PoolSource([pool()], [1.0], ALL, seed=4).sample(3, 32)
    assert torch.equal(third.image, again.image)
    assert third.text == again.text
    assert not torch.equal(third.image, source.sample(4, 32).image)
    assert not torch.equal(
        third.image, PoolSource([pool()], [1.0], ALL, seed=5).sample(3, 32).image
    )


def test_crops_have_the_asked_shape_and_range_at_any_zoom() -> None:
    source = PoolSource([pool()], [1.0], replace(ALL, natural_scale=0.0, zoom=(0.3, 4.0)), seed=0)
    crops = images(source, 24, 48)
    assert crops.shape == (24, 3, 48, 48)
    assert crops.dtype == torch.float32
    assert 0 <= crops.min() < crops.max() <= 1


def test_a_whole_image_at_its_own_scale_is_one_of_its_eight_turns() -> None:
    source = PoolSource([pool()], [1.0], NONE, seed=0)
    plain = torch.from_numpy(pool().images).permute(0, 3, 1, 2).float() / 255
    for position in range(16):
        sample = source.sample(position, 64)
        number = int(sample.text.removeprefix("text "))
        assert sample.label == f"label {number}"
        assert any(torch.equal(sample.image, turn(plain[number], k)) for k in range(8))


def test_images_stay_upright_where_turns_are_off() -> None:
    source = PoolSource([pool()], [1.0], replace(NONE, turns=False), seed=0)
    plain = torch.from_numpy(pool().images).permute(0, 3, 1, 2).float() / 255
    for position in range(8):
        sample = source.sample(position, 64)
        assert torch.equal(sample.image, plain[int(sample.text.removeprefix("text "))])


def test_a_zoom_shows_as_much_of_a_slope_as_it_says() -> None:
    slope = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None], (1, 64, 64, 3))
    zoomed = replace(NONE, natural_scale=0.0, zoom=(0.5, 2.0), turns=False)
    source = PoolSource([Images(slope)], [1.0], zoomed, seed=0)  # pyright: ignore[reportArgumentType]
    spans = [float(image[0, 0, -1] - image[0, 0, 0]) * 255 + 1 for image in images(source, 200, 32)]
    assert 15 <= min(spans) < 18
    assert 58 < max(spans) <= 64
    assert np.median(np.log2(spans)) == pytest.approx(math.log2(32), abs=0.15)


def test_pools_are_drawn_from_by_their_shares() -> None:
    source = PoolSource([pool(0), pool(255)], [0.25, 0.75], NONE, seed=0)
    bright = images(source, 400, 16).mean(dim=(1, 2, 3)) > 0.5
    assert 0.68 < bright.float().mean() < 0.82


@pytest.mark.parametrize("shares", [[], [1.0, 2.0], [-1.0], [0.0]])
def test_shares_that_do_not_fit_the_pools_are_refused(shares) -> None:
    with pytest.raises(UsageError, match="share"):
        PoolSource([pool()], shares, NONE, seed=0)
