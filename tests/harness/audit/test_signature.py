from __future__ import annotations

import hashlib

import numpy as np
import pytest

from medbench.harness.audit.correlation import THRESHOLD, agreement, contrast_field
from medbench.harness.audit.signature import dct_hash, pixels_sha256, sign
from medbench.harness.datasets import medsynth


def picture(modality="mri", index=0):
    return medsynth.generate(modality, index, split="val", size=128).image


def test_pixel_hash_is_of_size_and_pixels(rng):
    rgb = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert pixels_sha256(rgb) == hashlib.sha256(b"6x4:" + rgb.tobytes()).hexdigest()
    assert pixels_sha256(rgb) != pixels_sha256(rgb.reshape(6, 4, 3))


def test_dct_hash_ignores_brightness_and_contrast(rng):
    values = rng.normal(size=(32, 32))
    assert dct_hash(values) == dct_hash(values * 3 + 20)


def test_dct_hash_has_half_of_its_bits_set(rng):
    assert dct_hash(rng.normal(size=(32, 32))).bit_count() == 32


def test_dct_hash_of_a_negative_is_the_complement(rng):
    values = rng.normal(size=(32, 32))
    assert dct_hash(values) ^ dct_hash(-values) == 2**64 - 1


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.full((300, 200, 3), 255, np.uint8),
        np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0), 3, 2),
    ],
    ids=["black", "white", "ramp"],
)
def test_pictures_without_detail_are_flat(rgb):
    assert sign(rgb).flat


def test_one_small_mark_on_an_empty_ground_is_flat():
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[100:130, 100:130] = 255
    assert sign(rgb).flat


@pytest.mark.parametrize("modality", ["ct", "ultrasound", "xray", "fundus"])
def test_medical_pictures_are_not_flat(modality):
    assert not sign(picture(modality)).flat


def test_agreement_of_a_picture_with_itself_is_one():
    field = contrast_field(picture())[None]
    assert agreement(field, field)[0] == pytest.approx(1, abs=1e-5)


def test_agreement_with_an_empty_picture_is_below_the_threshold():
    field = contrast_field(picture())[None]
    assert agreement(field, np.zeros_like(field))[0] <= 0
    assert agreement(np.zeros_like(field), np.zeros_like(field))[0] == -1


def test_a_shared_layout_is_not_agreement():
    """The same bright rim around different textures."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:256, :256] - 127.5
    disc = (np.hypot(x, y) < 110)[:, :, None]
    textures = [np.kron(rng.integers(100, 200, (64, 64, 1)), np.ones((4, 4, 3))) for _ in "ab"]
    fields = [contrast_field(np.where(disc, t, 0).astype(np.uint8))[None] for t in textures]
    assert agreement(*fields)[0] < 0.5 < THRESHOLD


def test_agreement_is_the_lower_quartile_of_tile_correlations():
    fields = np.stack([contrast_field(picture(index=index)) for index in (0, 1)])
    values = []
    for row in range(0, 64, 8):
        for column in range(0, 64, 8):
            a, b = (f[row : row + 8, column : column + 8].astype(np.float64) for f in fields)
            powers = (a * a).mean(), (b * b).mean()
            if max(powers) >= 0.3**2:
                values.append((a * b).mean() / np.sqrt(powers[0] * powers[1]))
    expected = np.quantile(values, 0.25, method="lower")
    assert agreement(fields[:1], fields[1:])[0] == pytest.approx(expected, abs=1e-5)
