from __future__ import annotations

from dataclasses import replace

import torch

from medbench.harness.training.augment import Augmentation, blend, recolour, turn

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


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_the_eight_turns_are_all_different() -> None:
    image = torch.arange(9.0).reshape(1, 3, 3)
    assert len({tuple(turn(image, k).flatten().tolist()) for k in range(8)}) == 8


def test_two_images_seen_at_once_stay_between_black_and_white() -> None:
    first, second = torch.rand(2, 3, 8, 8, generator=generator())
    seen = torch.stack([blend(first, second, generator(seed)) for seed in range(40)])
    assert seen.min() >= 0
    assert seen.max() <= 1
    white = torch.ones(3, 8, 8)
    mixed = torch.stack([blend(white, white, generator(seed)) for seed in range(40)])
    assert torch.allclose(mixed, torch.ones(()), atol=1e-6)
