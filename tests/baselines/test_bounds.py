from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from medbench.baselines import bounds
from medbench.harness.conformance import validate
from medbench.harness.errors import NotApplicable, UsageError
from medbench.harness.protocol import Encoding, Tokenizer

FACTORS = {"pixels": 4, "down8": 8, "down16": 16}
NAMES = ["mean", *FACTORS]


def build(name, **options):
    given = {"variant": "reference", "config": None, "weights": None, "device": "cpu"}
    return getattr(bounds, f"build_{name}")(**(given | options))


def random_images(count=3, side=64, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    report = validate(build(name))
    assert report.passed, "\n".join(report.lines())


@pytest.mark.parametrize("name", NAMES)
def test_info_declares_a_bound_without_bits_and_features(name):
    info = build(name).info
    assert (info.full_name, info.kind) == (f"{name}@reference", "bound")
    assert info.bits_per_image is None
    assert {"features", "continuous"} <= info.cannot.keys()
    assert isinstance(build(name), Tokenizer)


def test_mean_is_the_mean_of_each_channel():
    images = random_images()
    bound = build("mean")
    decoded = bound.decode(bound.encode(images)).numpy()
    expected = images.double().numpy().mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(decoded, np.broadcast_to(expected, decoded.shape), atol=1e-6)


@pytest.mark.parametrize(("name", "factor"), FACTORS.items())
def test_latents_are_box_averages(name, factor):
    images = random_images()
    cells = 64 // factor
    blocks = images.double().numpy().reshape(3, 3, cells, factor, cells, factor)
    latents = build(name).encode(images).latents.numpy()
    np.testing.assert_allclose(latents, blocks.mean(axis=(3, 5)), atol=1e-6)


@pytest.mark.parametrize(("name", "factor"), FACTORS.items())
def test_box_average_is_that_of_pillow(name, factor):
    pixels = (random_images(1)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    reduced = np.asarray(Image.fromarray(pixels).reduce(factor), dtype=float)
    latents = build(name).encode(images).latents[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(latents - reduced).max() <= 0.5 + 1e-3


def keys_kernel(distance, a=-0.75):
    """Cubic convolution kernel (Keys 1981, equation 15 with free a)."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def bicubic_matrix(cells, factor):
    centres = (np.arange(cells * factor) + 0.5) / factor - 0.5
    matrix = np.zeros((cells * factor, cells))
    for row, centre in enumerate(centres):
        first = int(np.floor(centre)) - 1
        for tap in range(first, first + 4):
            matrix[row, np.clip(tap, 0, cells - 1)] += keys_kernel(centre - tap)
    return matrix


@pytest.mark.parametrize(("name", "factor"), FACTORS.items())
def test_upscaling_is_cubic_convolution(name, factor):
    bound = build(name)
    latents = random_images(2, side=6)
    matrix = bicubic_matrix(6, factor)
    expected = np.einsum("yi,bcij,xj->bcyx", matrix, latents.double().numpy(), matrix)
    np.testing.assert_allclose(bound.decode(Encoding(latents=latents)), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "factor"), FACTORS.items())
def test_round_trip_is_torch_area_down_and_bicubic_up(name, factor):
    images, bound = random_images(), build(name)
    small = F.interpolate(images, scale_factor=1 / factor, mode="area")
    expected = F.interpolate(small, size=(64, 64), mode="bicubic", align_corners=False)
    torch.testing.assert_close(bound.decode(bound.encode(images)), expected)


def test_bicubic_overshoot_is_left_to_the_runner():
    images = torch.zeros(1, 3, 64, 64)
    images[..., 32:] = 1
    bound = build("down8")
    decoded = bound.decode(bound.encode(images))
    assert decoded.min() < 0
    assert decoded.max() > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_image_is_kept(name):
    images = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 32, 32).contiguous()
    bound = build(name)
    torch.testing.assert_close(bound.decode(bound.encode(images)), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "factor"), FACTORS.items())
def test_sides_between_multiples_are_refused(name, factor):
    with pytest.raises(UsageError, match=f"multiple of {factor}"):
        build(name).encode(random_images(side=64 + factor // 2))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_not_applicable(name):
    with pytest.raises(NotApplicable, match=f"{name}@reference: a bound"):
        build(name).features(random_images())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("option", "said"), [({"config": {"factor": 4}}, "config"), ({"weights": "x.pt"}, "weights")]
)
def test_options_are_refused(name, option, said):
    with pytest.raises(UsageError, match=said):
        build(name, **option)


@pytest.mark.parametrize("name", NAMES)
def test_decode_refuses_what_is_no_latent(name):
    with pytest.raises(UsageError, match="latents"):
        build(name).decode(Encoding())
