"""The three ways to the FID Inception's input, each against a second source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medbench.harness.metrics.extractors.inception_definition import VARIANTS, variant_definition
from medbench.harness.metrics.extractors.inception_input import PREPARATIONS

SIDE = 299


def run(name, images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return PREPARATIONS[name](pixels).permute(0, 2, 3, 1).numpy()


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)


def by_loops(image):
    """TensorFlow 1's rule as its kernel states it: source index = output index times in/out."""
    scale, last = len(image) / SIDE, len(image) - 1
    places = [(min(int(i * scale), last), min(int(i * scale) + 1, last)) for i in range(SIDE)]
    shares = [i * scale - int(i * scale) for i in range(SIDE)]
    rows = np.stack(
        [image[a] + (image[b] - image[a]) * s for (a, b), s in zip(places, shares, strict=True)]
    )
    columns = [
        rows[:, a] + (rows[:, b] - rows[:, a]) * s for (a, b), s in zip(places, shares, strict=True)
    ]
    return np.stack(columns, axis=1)


def test_tensorflow_reads_without_the_half_pixel_shift(images):
    want = (by_loops(images[0].astype(np.float64)) - 128) / 128
    np.testing.assert_allclose(run("tf", images)[0], want, atol=2e-6)


def test_clean_fid_is_pillows_bicubic_on_float_channels(images):
    want = np.stack(
        [
            np.asarray(
                Image.fromarray(images[0, ..., c].astype(np.float32)).resize(
                    (SIDE, SIDE), Image.Resampling.BICUBIC
                )
            )
            for c in range(3)
        ],
        axis=2,
    )
    want = (want.clip(0, 255) - 128) / 128
    np.testing.assert_allclose(run("clean", images)[0], want, atol=5e-5)


def test_pytorch_fid_is_bilinear_about_half_pixel_centres(images):
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
        size=(SIDE, SIDE),
        mode="bilinear",
        align_corners=False,
    )
    want = (2 * resized - 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(run("", images), want, atol=1e-6)


def test_the_ways_differ_and_so_do_their_definitions(images):
    found = [run(name, images) for name in VARIANTS]
    for i in range(3):
        for j in range(i):
            assert np.abs(found[i] - found[j]).max() > 0.01
    assert len({str(variant_definition(name)) for name in VARIANTS}) == 3
