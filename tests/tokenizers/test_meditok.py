from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from medbench.harness.entries import PackagedFile
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding, Tokenizer
from medbench.tokenizers import catalogue, meditok
from medbench.tokenizers.catalogue import TINY_CONFIG
from medbench.tokenizers.initialisation import build_from_scratch
from medbench.tokenizers.meditok import build
from medbench.tokenizers.meditok_config import MedITokConfig

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.fixture(scope="module")
def weights():
    model = build_from_scratch(MedITokConfig.from_mapping(TINY_CONFIG), seed=0)
    for book in model.quantizer.books:
        torch.nn.init.normal_(book.codebook.weight, generator=torch.Generator().manual_seed(1))
    return model.state_dict()


@pytest.fixture(scope="module")
def tokenizer(weights):
    return build(variant="custom", config=TINY_CONFIG, weights=weights)


def test_it_gives_upstreams_codes_latents_images_and_tokens(golden):
    example = golden("meditok")
    expected = example.outputs
    ours = build(variant="custom", config=example.config, weights=example.weights)
    images = (expected["x"] + 1) / 2
    encoding = ours.encode(images)
    assert torch.equal(encoding.indices, expected["indices"])
    latents = expected["z_q"].transpose(1, 2).reshape(2, 16, 4, 4)
    torch.testing.assert_close(encoding.latents, latents, **CLOSE)
    torch.testing.assert_close(ours.decode(encoding) * 2 - 1, expected["rec"], **CLOSE)
    torch.testing.assert_close(ours.features(images), expected["post_tokens"], **CLOSE)
    torch.testing.assert_close(ours.continuous(images), expected["encoder_tokens"], **CLOSE)
    assert (ours.info.positions, ours.info.bits_per_image) == (16, 4 * 16 * 6)


def test_it_speaks_the_protocol(tokenizer):
    assert isinstance(tokenizer, Tokenizer)
    assert isinstance(tokenizer, ContinuousTokenizer)
    assert tokenizer.info.full_name == "meditok@custom"
    assert tokenizer.info.bits_per_image == 24576
    assert tokenizer.info.weights_sha256 is None


@pytest.mark.parametrize("side", [16, 128])
def test_indices_alone_and_latents_alone_decode_to_the_same_images(tokenizer, side):
    encoding = tokenizer.encode(_images(2, side))
    assert encoding.indices.shape == (2, 8, (side // 16) ** 2)
    assert encoding.latents.shape == (2, 64, side // 16, side // 16)
    both = tokenizer.decode(encoding)
    assert both.shape == (2, 3, side, side)
    assert torch.equal(tokenizer.decode(Encoding(indices=encoding.indices)), both)
    torch.testing.assert_close(tokenizer.decode(Encoding(latents=encoding.latents)), both)


def test_neither_batch_size_nor_order_matters(tokenizer):
    images = _images(5, 64)
    whole = tokenizer.encode(images)
    for place in (3, 0):
        alone = tokenizer.encode(images[place : place + 1])
        assert torch.equal(alone.indices[0], whole.indices[place])
    turned = tokenizer.encode(images.flip(0))
    assert torch.equal(turned.indices.flip(0), whole.indices)
    torch.testing.assert_close(tokenizer.decode(turned).flip(0), tokenizer.decode(whole))


def test_no_result_carries_a_gradient(tokenizer):
    images = _images(1, 32).requires_grad_()
    encoding = tokenizer.encode(images)
    results = [tokenizer.decode(encoding), tokenizer.features(images), tokenizer.continuous(images)]
    assert not any(result.requires_grad for result in (*results, encoding.latents))
    assert not tokenizer.model.training


@pytest.mark.parametrize("side", [250, 8, 100])
def test_other_sides_are_refused_naming_seen_and_accepted(tokenizer, side):
    with pytest.raises(UsageError, match=rf"multiple of 16, got {side}"):
        tokenizer.encode(_images(1, side))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (Encoding(), "indices or latents, got neither"),
        (Encoding(indices=torch.zeros(1, 8, 16)), "must be int64"),
        (Encoding(indices=torch.zeros(1, 4, 16, dtype=torch.int64)), r"\(B, 8, L\)"),
        (Encoding(indices=torch.zeros(1, 8, 15, dtype=torch.int64)), "square grid"),
        (Encoding(indices=torch.full((1, 8, 16), 4096)), "0 to 4095, got 4096"),
        (Encoding(indices=torch.full((1, 8, 16), -1)), "0 to 4095, got -1"),
        (Encoding(latents=torch.zeros(1, 63, 4, 4)), r"\(B, 64, h, h\)"),
        (Encoding(latents=torch.zeros(1, 64, 4, 5)), r"\(B, 64, h, h\)"),
        (Encoding(latents=torch.zeros(1, 64, 4, 4).double()), "float64"),
        (Encoding(latents=torch.full((1, 64, 4, 4), torch.nan)), "finite"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tokenizer, encoding, message):
    with pytest.raises(UsageError, match=message):
        tokenizer.decode(encoding)


def test_a_trainers_checkpoint_is_read_through_its_wrapper(weights, tokenizer, tmp_path):
    inner = {f"core.{key}": value for key, value in weights.items()}
    inner |= {"text_encoder.proj": torch.zeros(3), "text_projection.weight": torch.zeros(2, 2)}
    path = tmp_path / "stage2.pth"
    torch.save({"args": {"lr": 1e-4}, "epoch": 1, "trainer": {"config": {}, "model": inner}}, path)
    found = build(variant="mine", weights=path)
    assert found.info.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    images = _images(1, 32)
    assert torch.equal(found.encode(images).indices, tokenizer.encode(images).indices)


def test_half_precision_files_are_run_in_float32(weights, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in weights.items()}, path)
    found = build(variant="mine", weights=path)
    assert {tensor.dtype for tensor in found.model.state_dict().values()} == {torch.float32}
    assert found.continuous(_images(1, 32)).dtype == torch.float32


def test_the_callers_tensors_are_not_shared(weights):
    state = {key: value.clone() for key, value in weights.items()}
    found = build(variant="custom", config=TINY_CONFIG, weights=state)
    before = found.continuous(_images(1, 32))
    state["encoder.norm.weight"].zero_()
    assert torch.equal(found.continuous(_images(1, 32)), before)


def test_a_configuration_without_weights_is_refused():
    with pytest.raises(UsageError, match="random ones measure nothing"):
        build(variant="mine", config=TINY_CONFIG)


def test_a_checkpoint_of_another_width_asks_for_its_configuration(golden):
    with pytest.raises(UsageError, match=r"token width \(64,\).*--config"):
        build(variant="mine", weights=golden("meditok").weights)


def test_a_checkpoint_that_does_not_fit_the_configuration_is_refused(golden):
    with pytest.raises(UsageError, match=r"\d+ of \d+ tensors match. It is a checkpoint of anoth"):
        build(variant="mine", config=TINY_CONFIG, weights=golden("meditok").weights)


def test_missing_published_weights_name_the_command_and_the_tiny_variant(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingPrerequisite) as caught:
        build(variant="official")
    message = str(caught.value)
    for part in ("medbench weights fetch meditok@official", "--weights", "2.79 GB", "@tiny"):
        assert part in message


def test_the_packaged_weights_are_used_for_the_tiny_variant(monkeypatch, weights, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(dict(weights), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    packaged = PackagedFile(path=path, sha256=digest)
    entry = catalogue.ENTRIES[0]
    variants = {**entry.variants, "tiny": replace(entry.variants["tiny"], weights=packaged)}
    monkeypatch.setattr(meditok, "ENTRIES", (replace(entry, variants=variants),))
    found = build(variant="tiny")
    assert found.info.weights_sha256 == digest
    assert found.info.training_data == "clean by declaration"
