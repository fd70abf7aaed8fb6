from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from medbench.baselines import codecs
from medbench.baselines.codec_formats import FORMATS
from medbench.harness.conformance import validate
from medbench.harness.errors import MissingPrerequisite, NotApplicable, UsageError
from medbench.harness.protocol import Encoding, Tokenizer
from medbench.harness.tokenizer_registry import load_tokenizer

NAMES = ["jpeg", "webp", "avif"]


def build(name, bits=24_576, **options):
    given = {"variant": str(bits), "config": {"budget_bits": bits}, "weights": None}
    return getattr(codecs, f"build_{name}")(device="cpu", **(given | options))


def as_batch(*pixels):
    """uint8 (H, W, 3) arrays -> float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def photograph(name, side=128):
    image = Image.fromarray(getattr(data, name)()).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def smooth(side=128):
    y, x = np.mgrid[0:side, 0:side] / side
    return (np.stack([x, y, 0.5 + 0.4 * np.sin(6 * x * y)], axis=-1) * 255).astype(np.uint8)


def noise(side=128, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


IMAGES = {
    "retina": lambda: photograph("retina"),
    "cells (grey)": lambda: photograph("cell"),
    "astronaut": lambda: photograph("astronaut"),
    "smooth": smooth,
    "noise": noise,
}


def stream_of(payload):
    return payload[1:]


def psnr(reference, decoded):
    return float(-10 * torch.log10(((reference - decoded) ** 2).mean()))


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    report = validate(build(name))
    assert report.passed, "\n".join(report.lines())


@pytest.mark.parametrize("name", NAMES)
def test_conformance_below_any_rate_is_not_applicable(name):
    report = validate(build(name, 80))
    assert report.passed
    assert {c.name: c.status for c in report.checks}["encode"] == "not applicable"


@pytest.mark.parametrize("name", NAMES)
def test_registered_by_bits(name):
    codec = load_tokenizer(f"{name}@9000")
    assert isinstance(codec, Tokenizer)
    assert (codec.info.full_name, codec.info.bits_per_image) == (f"{name}@9000", 9000.0)
    assert codec.info.kind == "codec"
    assert codec.info.source.startswith("Pillow ")


@pytest.mark.parametrize("bits", [6_000, 12_000, 48_000])
@pytest.mark.parametrize("name", NAMES)
def test_payload_stays_within_the_budget(name, bits):
    images = as_batch(*(make() for make in IMAGES.values()))
    encoding = build(name, bits).encode(images)
    assert encoding.bits == tuple(8 * len(payload) for payload in encoding.payload)
    assert max(encoding.bits) <= bits


@pytest.mark.parametrize("image", ["retina", "cells (grey)", "astronaut"])
@pytest.mark.parametrize("name", NAMES)
def test_quality_is_the_highest_that_fits(name, image):
    pixels, bits = IMAGES[image](), 14_000
    payload = build(name, bits).encode(as_batch(pixels)).payload[0]
    pillow = Image.fromarray(pixels)
    pillow = pillow.convert("L") if image == "cells (grey)" else pillow
    codec = FORMATS[name]
    qualities = range(codec.qualities[0], codec.qualities[-1] + 1)
    streams = [codec.write(pillow, quality) for quality in qualities]
    fitting = [stream for stream in streams if 8 * (1 + len(stream)) <= bits]
    assert payload[0] & 0b11 == 0
    assert stream_of(payload) == fitting[-1]
    assert len(fitting) < len(streams)


@pytest.mark.parametrize("name", NAMES)
def test_an_easy_image_gets_the_top_quality(name):
    codec = FORMATS[name]
    payload = build(name, 10**7).encode(as_batch(smooth())).payload[0]
    assert stream_of(payload) == codec.write(Image.fromarray(smooth()), codec.qualities[-1])


@pytest.mark.parametrize("image", ["retina", "noise"])
@pytest.mark.parametrize("name", NAMES)
def test_decode_is_pillows_reading_of_the_payload(name, image):
    codec, images = build(name), as_batch(IMAGES[image]())
    encoding = codec.encode(images)
    read = Image.open(io.BytesIO(stream_of(encoding.payload[0]))).convert("RGB")
    read = read.resize((128, 128), Image.Resampling.BICUBIC)
    torch.testing.assert_close(codec.decode(encoding), as_batch(np.asarray(read)), atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_grey_images_are_coded_as_one_channel(name):
    codec, images = build(name), as_batch(IMAGES["cells (grey)"]())
    encoding = codec.encode(images)
    decoded = codec.decode(encoding)
    assert encoding.payload[0][0] & 0b100
    assert torch.equal(decoded[:, 0], decoded[:, 1])
    assert torch.equal(decoded[:, 0], decoded[:, 2])
    if name != "webp":  # which has no one-channel mode
        assert Image.open(io.BytesIO(stream_of(encoding.payload[0]))).mode == "L"


@pytest.mark.parametrize("name", NAMES)
def test_one_coloured_pixel_makes_an_image_colour(name):
    pixels = photograph("cell").copy()
    pixels[5, 5, 0] ^= 1
    assert not build(name).encode(as_batch(pixels)).payload[0][0] & 0b100


@pytest.mark.parametrize("name", NAMES)
def test_psnr_grows_with_the_budget(name):
    images = as_batch(photograph("retina"), photograph("cell"))
    scores = []
    for bits in (6_000, 12_000, 24_000, 48_000):
        codec = build(name, bits)
        scores.append(psnr(images, codec.decode(codec.encode(images))))
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 6


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_that_does_not_fit_is_halved_and_halved_again(name, halvings):
    pixels, codec = photograph("astronaut"), FORMATS[name]
    lowest = [
        codec.write(Image.fromarray(pixels).reduce(2**n), codec.qualities[0]) for n in range(3)
    ]
    assert len(lowest[0]) > len(lowest[1]) > len(lowest[2])
    tokenizer = build(name, 8 * (1 + len(lowest[halvings])))
    encoding = tokenizer.encode(as_batch(pixels))
    header, stream = encoding.payload[0][0], stream_of(encoding.payload[0])
    assert header & 0b11 == halvings
    assert Image.open(io.BytesIO(stream)).size == (128 >> halvings, 128 >> halvings)
    assert tokenizer.decode(encoding).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("name", NAMES)
def test_one_byte_less_than_the_smallest_file_is_not_applicable(name):
    codec, pixels = FORMATS[name], photograph("astronaut")
    smallest = codec.write(Image.fromarray(pixels).reduce(4), codec.qualities[0])
    with pytest.raises(NotApplicable, match="not applicable at this rate"):
        build(name, 8 * len(smallest)).encode(as_batch(pixels))


@pytest.mark.parametrize("name", NAMES)
def test_an_absurd_budget_is_not_applicable(name):
    with pytest.raises(NotApplicable, match=f"{name}@300: .* 300 bits .* not applicable"):
        build(name, 300).encode(as_batch(noise()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [4, 8, 20, 64])
def test_small_sides_come_back(name, side):
    codec, images = build(name), as_batch(noise(side), smooth(side))
    assert codec.decode(codec.encode(images)).shape == images.shape


def test_input_is_rounded_half_to_even():
    half = torch.full((1, 3, 8, 8), 100.5 / 255, dtype=torch.float64)
    assert (half.float() * 255 == 100.5).all()
    codec = build("webp", 10**6)
    below = codec.encode(torch.full((1, 3, 8, 8), 100 / 255))
    assert codec.encode(half.float()).payload == below.payload


def test_no_metadata_is_written():
    for name in NAMES:
        stream = stream_of(build(name).encode(as_batch(smooth())).payload[0])
        assert Image.open(io.BytesIO(stream)).info.keys().isdisjoint({"exif", "xmp", "icc_profile"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "config",
    [None, {}, {"budget_bits": 0}, {"budget_bits": 1.5}, {"budget_bits": True}, {"quality": 50}],
)
def test_a_missing_or_strange_budget_is_refused(name, config):
    with pytest.raises(UsageError, match="budget_bits"):
        build(name, config=config)


def test_weights_are_refused():
    with pytest.raises(UsageError, match="weights"):
        build("jpeg", weights="x.pt")


def test_features_are_not_applicable():
    with pytest.raises(NotApplicable, match="a codec has none"):
        build("jpeg").features(as_batch(smooth()))


def test_decode_refuses_what_encode_did_not_give():
    codec = build("jpeg")
    with pytest.raises(UsageError, match="payload"):
        codec.decode(Encoding())
    with pytest.raises(UsageError, match="not readable"):
        codec.decode(Encoding(payload=(b"\x00nonsense",)))
    sides = [codec.encode(as_batch(smooth(side))).payload[0] for side in (64, 32)]
    with pytest.raises(UsageError, match=r"\[32, 64\]"):
        codec.decode(Encoding(payload=tuple(sides)))


def test_a_pillow_without_the_library_is_a_missing_prerequisite(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(MissingPrerequisite, match="without avif"):
        build("avif")
