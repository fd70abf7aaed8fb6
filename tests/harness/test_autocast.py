"""A tokenizer in bfloat16 keeps the protocol, and computes otherwise."""

from __future__ import annotations

import pytest
import torch

import medbench
from medbench.harness.autocast import in_bfloat16
from medbench.harness.protocol import ContinuousTokenizer, Tokenizer

NAMES = (
    "vqgan@tiny",
    pytest.param("tokenflow@tiny", marks=pytest.mark.slow),
    "medvae@tiny",
    "jpeg@meditok",
)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    noise = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, 256, mode="bilinear")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_gives_is_float32_and_whole_numbers_near_those_of_float32(name, images):
    plain = medbench.load_tokenizer(name)
    cast = in_bfloat16(plain, "cpu")
    assert isinstance(cast, Tokenizer)
    assert isinstance(cast, ContinuousTokenizer) == isinstance(plain, ContinuousTokenizer)
    with torch.inference_mode():
        encoding, expected = cast.encode(images), plain.encode(images)
        back, original = cast.decode(encoding), plain.decode(expected)
    assert back.dtype == torch.float32
    assert back.shape == original.shape
    assert (back - original).abs().mean() < 0.02
    assert encoding.payload == expected.payload
    for found, wanted in (
        (encoding.indices, torch.int64),
        (encoding.latents, torch.float32),
        (encoding.continuous, torch.float32),
    ):
        assert found is None or found.dtype == wanted


def test_the_network_really_computes_in_bfloat16(images):
    plain = medbench.load_tokenizer("vqgan@tiny")
    cast = in_bfloat16(plain, "cpu")
    seen = []
    layer = next(m for m in plain.model.modules() if isinstance(m, torch.nn.Conv2d))
    layer.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with torch.inference_mode():
        for view in (cast.encode, cast.features, cast.continuous, plain.encode):
            view(images)
    assert seen == [torch.bfloat16] * 3 + [torch.float32]


def test_features_and_the_encoder_output_are_float32(images):
    cast = in_bfloat16(medbench.load_tokenizer("vqgan@tiny"), "cpu")
    with torch.inference_mode():
        assert cast.features(images).dtype == cast.continuous(images).dtype == torch.float32


def test_weights_keep_their_type_and_on_the_cpu_their_layout(images):
    plain = medbench.load_tokenizer("vqgan@tiny")
    before = [(p.dtype, p.stride()) for p in plain.model.parameters()]
    with torch.inference_mode():
        in_bfloat16(plain, "cpu").encode(images)
    assert [(p.dtype, p.stride()) for p in plain.model.parameters()] == before


def test_on_cuda_convolutions_are_laid_out_channels_last():
    plain = medbench.load_tokenizer("vqgan@tiny")
    in_bfloat16(plain, "cuda")  # only the layout: nothing is moved
    layers = [m for m in plain.model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert layers
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in layers)
