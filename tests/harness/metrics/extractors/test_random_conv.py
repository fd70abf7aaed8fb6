from __future__ import annotations

import hashlib
import io
import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from medbench.harness.errors import MetricError
from medbench.harness.metrics.extractors.protocol import Extractor
from medbench.harness.metrics.extractors.random_conv import RandomConvExtractor, weights
from medbench.harness.metrics.extractors.random_definition import CHANNELS, DEFINITION
from medbench.harness.metrics.frechet import frechet_distance


@pytest.fixture(scope="module")
def extractor():
    return RandomConvExtractor()


@pytest.fixture(scope="module")
def synthetic():
    """Textured colour images (16, 128, 128, 3): three octaves of noise with a sharp disc each."""
    rng = np.random.default_rng(3)
    shape = (16, 128, 128, 3)
    octaves = [gaussian_filter(rng.normal(size=shape), (0, s, s, 0)) for s in (1, 4, 16)]
    images = sum(octave / octave.std() * 25 for octave in octaves) + 110
    rows, columns = np.mgrid[:128, :128]
    for image in images:
        centre, radius = rng.uniform(30, 98, 2), rng.uniform(10, 25)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        image[disc] += rng.uniform(-80, 80, 3)
    return to_bytes(images)


def to_bytes(images):
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def blurred(images, sigma):
    return to_bytes(gaussian_filter(images.astype(float), (0, sigma, sigma, 0)))


def noisy(images, level):
    return to_bytes(images + np.random.default_rng(5).normal(0, level, images.shape))


def compressed(images, loss):
    out = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=100 - loss)
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


DAMAGES = pytest.mark.parametrize(
    ("damage", "severities"),
    [(blurred, (0.6, 1, 2, 4)), (noisy, (3, 8, 20, 40)), (compressed, (10, 50, 80, 95))],
    ids=["blur", "noise", "jpeg"],
)


def distances(extractor, images, damage, severities):
    reference = extractor(images)
    return [frechet_distance(reference, extractor(damage(images, s))) for s in severities]


@DAMAGES
def test_distance_grows_with_the_severity_of_damage(extractor, synthetic, damage, severities):
    values = distances(extractor, synthetic, damage, severities)
    assert values == sorted(values)
    assert values[-1] > 2 * values[0] > 0


@DAMAGES
def test_distance_grows_on_real_images(extractor, real_data, damage, severities):
    paths = [
        p for m in sorted((real_data / "recon").iterdir()) for p in sorted(m.glob("*.png"))[:4]
    ]
    images = np.stack(
        [np.asarray(Image.open(p).convert("RGB").resize((256, 256))) for p in paths[:32]]
    )
    values = distances(extractor, images, damage, severities)
    assert values == sorted(values)
    assert values[-1] > 2 * values[0] > 0


def test_weights_are_the_ones_that_the_definition_names():
    digest = hashlib.sha256()
    for weight, bias in weights():
        digest.update(weight.astype("<f4").tobytes() + bias.astype("<f4").tobytes())
    assert digest.hexdigest() == DEFINITION["weights_sha256"]


def test_features_do_not_depend_on_the_batch(extractor, synthetic):
    whole = extractor(synthetic)
    alone = np.concatenate([extractor(synthetic[i : i + 1]) for i in range(len(synthetic))])
    backwards = extractor(synthetic[::-1])[::-1]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(backwards, whole, rtol=1e-5, atol=1e-5 * scale)


def test_keeps_its_contract(extractor, synthetic):
    assert isinstance(extractor, Extractor)
    features = extractor(synthetic[:2])
    assert features.shape == (2, extractor.dims) == (2, 512)
    assert features.dtype == np.float32
    assert json.loads(json.dumps(extractor.definition)) == extractor.definition


def test_agrees_with_the_layers_written_out(extractor, synthetic):
    x = torch.from_numpy(synthetic[:1]).permute(0, 3, 1, 2).double() / 127.5 - 1
    for weight, bias in weights():
        layer = torch.nn.Conv2d(
            weight.shape[1], weight.shape[0], 3, stride=2, padding=1, padding_mode="replicate"
        ).double()
        layer.weight.data, layer.bias.data = (
            torch.from_numpy(a.astype(np.float64)) for a in (weight, bias)
        )
        x = layer(x).relu()
    maps = x.detach().flatten(2)
    want = torch.cat([maps.mean(2), maps.std(2, correction=0)], dim=1).numpy()
    np.testing.assert_allclose(extractor(synthetic[:1]), want, rtol=1e-4, atol=1e-5)


def test_costs_at_most_half_a_gflop_per_image():
    multiplications, side = 0, 256
    for inputs, outputs in itertools.pairwise(CHANNELS):
        side //= 2
        multiplications += side**2 * inputs * outputs * 9
    assert 2 * multiplications <= 0.5e9


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 64, 64, 3), dtype=np.float32), "uint8"),
        (np.zeros((64, 64, 3), dtype=np.uint8), "shape"),
        (np.zeros((0, 64, 64, 3), dtype=np.uint8), "shape"),
        (np.zeros((1, 63, 64, 3), dtype=np.uint8), "at least 64"),
    ],
)
def test_refuses_what_is_no_batch_of_images(extractor, images, message):
    with pytest.raises(MetricError, match=message):
        extractor(images)
