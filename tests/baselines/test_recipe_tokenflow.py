from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medbench.baselines.recipe_tokenflow import (
    TokenFlowMethod,
    TrainableTokenFlow,
    pass_scales,
    shrunk_scales,
)
from medbench.baselines.semantic_teacher import RandomConvTeacher, find_teacher
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.harness.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def trainable(small_recipe) -> TrainableTokenFlow:
    found = small_recipe("tokenflow-tiny").trainable
    assert isinstance(found, TrainableTokenFlow)
    return found


def test_two_embeddings_are_the_book_that_the_keeper_changes(trainable):
    (book,) = trainable.books()
    book[3] = 2.0
    book[3, 32:] = 5.0
    network = trainable.network
    assert (network.quantize.embedding_vqkd.weight[3] == 2).all()
    assert (network.quantize.embedding_vqgan.weight[3] == 5).all()
    network.load_state_dict({k: v + 1 for k, v in network.state_dict().items()})
    assert (book[3, :32] == 3).all()


def test_the_book_is_that_of_the_network_also_after_it_has_moved(small_recipe):
    trainable = small_recipe("tokenflow-tiny").trainable
    before = trainable.books()[0].clone()
    # What moving to another device does: all parameters get another memory.
    trainable.network.double()
    (book,) = trainable.books()
    torch.testing.assert_close(book, before.double())
    book[5] = 3.0
    assert (trainable.network.quantize.embedding_vqgan.weight[5] == 3).all()
    assert trainable.books()[0] is book


def test_the_training_pass_takes_the_codes_that_encoding_takes(trainable):
    quantizer = trainable.network.quantize
    z = torch.randn(3, 40, 4, 4, generator=generator())
    found = pass_scales(quantizer, z, (1, 2, 4), quantise=True)
    expected = quantizer.encode_scales(z, (1, 2, 4))
    assert found.indices is not None
    assert torch.equal(found.indices.reshape(3, -1), expected.indices)  # image after image
    torch.testing.assert_close(found.zq, expected.zq, atol=1e-5, rtol=1e-5)


def test_a_pass_without_codes_is_one_with_a_perfect_book(trainable):
    quantizer = trainable.network.quantize
    z = torch.randn(1, 40, 2, 2, generator=generator())
    plain = pass_scales(quantizer, z, (1, 2), quantise=False)
    book = trainable.books()[0]
    book[:5] = plain.vectors.squeeze(1)
    coded = pass_scales(quantizer, z, (1, 2), quantise=True)
    torch.testing.assert_close(coded.zq, plain.zq, atol=1e-5, rtol=1e-5)
    assert coded.terms["vq"].item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (16, (1, 2, 4, 6, 8, 10, 12, 14, 16)),
        (8, (1, 1, 2, 3, 4, 5, 6, 7, 8)),
        (1, (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    ],
)
def test_scales_shrink_with_the_grid_and_stay_as_many(grid, expected):
    assert shrunk_scales((1, 2, 4, 6, 8, 10, 12, 14, 16), grid) == expected


def test_a_scale_is_dropped_now_and_then_but_not_the_first_and_only_in_training(small_config):
    sizes = TokenFlowConfig.from_mapping(small_config("tokenflow-tiny")["model"])
    method = TokenFlowMethod(teacher="random-conv", semantic_weight=1.0, scale_drop=0.5)
    trainable = TrainableTokenFlow(sizes, method, seed=0)
    seen = [trainable._scales(4, generator(seed)) for seed in range(200)]
    assert set(seen) == {(1, 2, 4), (1, 4), (1, 2)}
    assert 70 < seen.count((1, 2, 4)) < 130
    trainable.network.eval()
    assert {trainable._scales(4, generator(seed)) for seed in range(20)} == {(1, 2, 4)}


def test_the_random_teacher_is_fixed_centred_and_sees_one_cell_of_the_grid():
    first, second = RandomConvTeacher(), find_teacher("random-conv")
    images = torch.rand(2, 3, 64, 96, generator=generator()) * 2 - 1
    assert first(images).shape == (2, 24, first.dims)
    assert torch.equal(first(images), second(images))
    noise = torch.rand(64, 3, 8, 8, generator=generator(0)) * 2 - 1
    found = first(F.interpolate(noise, size=(64, 64), mode="bilinear")).flatten(0, 1)
    assert found.mean(dim=0).abs().max() < 1e-4
    changed = images.clone()
    changed[:, :, 48:, 80:] = 0
    same = (first(changed) == first(images)).all(dim=2).unflatten(1, (4, 6))
    assert same[:, :2, :4].all()
    assert not same[:, 3, 5].any()


def test_an_unknown_teacher_and_one_of_another_width_are_refused(small_config, overlay):
    with pytest.raises(UsageError, match="unknown teacher 'clip'; known: random-conv"):
        find_teacher("clip")
    model = overlay(small_config("tokenflow-tiny")["model"], {"sizes": {"out": 7}})
    method = TokenFlowMethod(teacher="random-conv", semantic_weight=1.0, scale_drop=0.1)
    with pytest.raises(UsageError, match=r"192 features per cell, the semantic decoder 7"):
        TrainableTokenFlow(TokenFlowConfig.from_mapping(model), method, seed=0)
