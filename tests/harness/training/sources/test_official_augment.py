from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from medbench.harness.training.augment import turn
from medbench.harness.training.sources import official_augment
from medbench.harness.training.sources.official_augment import draw_box, official
from medbench.harness.training.sources.pixels import to_square


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", [40, 64, 128])
def test_squares_are_torchvisions_antialiased_resize(pixels, side) -> None:
    ours = to_square(pixels, side)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    theirs = reference.resize(image, [side, side], antialias=True)
    assert (ours - theirs).abs().max() <= 0.5 / 255 + 0.003  # bytes are rounded, weights too
    grey = (pixels[..., 0] / 255).astype(np.float32)
    theirs = reference.resize(torch.from_numpy(grey)[None], [side, side], antialias=True)
    assert torch.allclose(to_square(grey, side), theirs.expand(3, -1, -1), atol=1e-6)


def test_an_image_of_the_asked_side_is_only_converted(rng) -> None:
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    assert torch.equal(to_square(pixels, 32), expected)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (200, 260), (100, 300)])
def test_boxes_are_distributed_as_torchvisions(height, width) -> None:
    count = 1500
    draws = generator()
    ours = [draw_box(height, width, draws) for _ in range(count)]
    image = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = [
            RandomResizedCrop.get_params(image, [0.9, 1.0], [3 / 4, 4 / 3]) for _ in range(count)
        ]
    for number, name in enumerate(("top", "left", "height", "width")):
        own, other = [getattr(box, name) for box in ours], [box[number] for box in theirs]
        assert ks_2samp(own, other).pvalue > 1e-3, name


def test_views_are_turns_of_a_crop_or_their_luma(pixels, monkeypatch) -> None:
    whole = official_augment.Box(0, 0, 70, 90)
    monkeypatch.setattr(official_augment, "draw_box", lambda *_: whole)
    plain = to_square(pixels, 32)
    luma = reference.rgb_to_grayscale(plain, num_output_channels=3)
    seen: dict[tuple[bool, int], int] = {}
    for seed in range(1500):
        view = official(pixels, 32, generator(seed))
        found = [
            (grey, k)
            for grey, image in ((False, plain), (True, luma))
            for k in range(8)
            if torch.allclose(view, turn(image, k), atol=1e-6)
        ]
        (kind,) = found
        seen[kind] = seen.get(kind, 0) + 1
    for k in range(8):  # two flips and turns either way reach all eight alike
        assert 187.5 - 60 < seen[False, k] + seen[True, k] < 187.5 + 60
    assert 110 < sum(count for (grey, _), count in seen.items() if grey) < 190


def test_both_directions_of_turning_occur(monkeypatch, rng) -> None:
    monkeypatch.setattr(official_augment, "_FLIPPED", 0.0)
    monkeypatch.setattr(official_augment, "_GREY", 0.0)
    monkeypatch.setattr(
        official_augment, "draw_box", lambda h, w, _: official_augment.Box(0, 0, h, w)
    )
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    plain = to_square(pixels, 16)
    counts = [0, 0, 0, 0]
    for seed in range(600):
        view = official(pixels, 16, generator(seed))
        counts[next(k for k in range(4) if torch.equal(view, turn(plain, k)))] += 1
    assert 250 < counts[0] < 350
    assert 110 < min(counts[1], counts[3]) < 190
    assert counts[2] == 0


def test_a_crop_keeps_nine_tenths_of_a_square() -> None:
    slope = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32), (200, 200))
    spans = [float(np.ptp(official(slope, 200, generator(seed)).numpy())) for seed in range(60)]
    assert min(spans) > 0.85
    assert max(spans) <= 1.0
    assert min(spans) < 0.99
