from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from medbench.baselines.recipe_tokenflow import (
    TokenFlowMethod,
    TrainableTokenFlow,
    pass_scales,
    shrunk_scales,
)
from medbench.baselines.semantic_teacher import MiniatureTeacher, RandomConvTeacher, find_teacher
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.harness.datasets.medsynth import MODALITIES, generate
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.training.prerequisites import check_stages, require
from medbench.harness.training.presets import presets
from medbench.harness.training.run_plan import read_stages
from medbench.harness.training.teachers.miniature import (
    WEIGHTS,
    MiniatureTerms,
    build_miniature,
    save_facts,
)
from medbench.harness.training.teachers.protocol import TeacherTerms
from medbench.harness.training.teachers.words import WordTokenizer

RANDOM = TeacherTerms("random-conv")


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
    method = TokenFlowMethod(teacher=RANDOM, semantic_weight=1.0, scale_drop=0.5)
    trainable = TrainableTokenFlow(sizes, method, seed=0)
    seen = [trainable._scales(4, generator(seed)) for seed in range(200)]
    assert set(seen) == {(1, 2, 4), (1, 4), (1, 2)}
    assert 70 < seen.count((1, 2, 4)) < 130
    trainable.network.eval()
    assert {trainable._scales(4, generator(seed)) for seed in range(20)} == {(1, 2, 4)}


def test_the_random_teacher_is_fixed_centred_and_sees_one_cell_of_the_grid(tmp_path):
    first, second = RandomConvTeacher(), find_teacher(RANDOM, tmp_path)
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


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """The folder of a stage that has just begun to train the teacher in miniature."""
    folder = tmp_path_factory.mktemp("run") / "teacher"
    terms = MiniatureTerms(image_widths=(16, 16, 32, 48), text_width=16, text_heads=2)
    words = WordTokenizer(["ct", "scan"], terms.context_length)
    save_facts(folder, terms, words)
    state = build_miniature(terms, words, seed=0).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
    return folder


def test_the_teacher_in_miniature_gives_standardised_features_of_every_cell(miniature):
    teacher = find_teacher(TeacherTerms("miniature", stage="teacher"), miniature.parent)
    assert teacher.dims == 48
    known = [generate(m, i, split="train", size=64).image for m in MODALITIES for i in range(8)]
    images = torch.from_numpy(np.stack(known)).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = teacher(images)
    assert found.shape == (72, 16, 48)
    # Bringing maps to another number of cells moves the mean a little.
    assert found.mean(dim=(0, 1)).abs().max() < 0.1
    assert teacher(images[:2].repeat(1, 1, 4, 4)).shape == (2, 256, 48)
    assert torch.equal(teacher(images), found)


def test_features_of_the_teacher_in_miniature_are_in_raster_order(miniature):
    teacher = find_teacher(TeacherTerms("miniature", weights=str(miniature)), miniature)
    images = torch.rand(1, 3, 256, 256, generator=generator()) * 2 - 1
    cells = teacher(images).unflatten(1, (16, 16))
    assert isinstance(teacher, MiniatureTeacher)
    maps = teacher._usual.standardised(teacher._maps(images))
    for row in (0, -1):
        for column in (0, -1):
            torch.testing.assert_close(cells[0, row, column], maps[0, :, row, column])


def test_the_pass_distils_the_teacher_that_the_recipe_was_given(small_config, overlay, miniature):
    model = overlay(small_config("tokenflow-tiny")["model"], {"sizes": {"out": 48}})
    method = TokenFlowMethod(
        teacher=TeacherTerms("miniature", stage="teacher"), semantic_weight=1.0, scale_drop=0.0
    )
    teacher = find_teacher(method.teacher, miniature.parent)
    sizes = TokenFlowConfig.from_mapping(model)
    trainable = TrainableTokenFlow(sizes, method, seed=0, teacher=teacher)
    images = torch.rand(2, 3, 32, 32, generator=generator()) * 2 - 1
    found = trainable.reconstruct(images, quantise=True, generator=generator())
    decoded = trainable.network.decode_semantics(found.latents)
    cosine = F.cosine_similarity(decoded, teacher(images), dim=-1).mean()
    assert found.terms["semantic"].item() == pytest.approx(1 - cosine.item(), abs=1e-6)
    found.terms["semantic"].backward()
    assert isinstance(teacher, MiniatureTeacher)
    assert all(p.grad is None for p in teacher._trunk.parameters())
    with pytest.raises(UsageError, match="without the teacher"):
        TrainableTokenFlow(sizes, method, seed=0).reconstruct(
            images, quantise=True, generator=generator()
        )


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (TeacherTerms("clip"), "unknown teacher 'clip'; known: random-conv, miniature"),
        (TeacherTerms("miniature"), "needs either `stage`"),
        (TeacherTerms("miniature", stage="teacher", frozen=False), "leave out `frozen: false`"),
    ],
)
def test_teachers_that_cannot_be_are_refused(terms, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        find_teacher(terms, tmp_path)


def test_a_teacher_that_is_not_trained_is_told_with_its_folder(tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"is not in .*teacher"):
        find_teacher(TeacherTerms("miniature", stage="teacher"), tmp_path)


def test_a_teacher_of_another_width_is_refused(small_config, overlay):
    model = overlay(small_config("tokenflow-tiny")["model"], {"sizes": {"out": 7}})
    method = TokenFlowMethod(teacher=RANDOM, semantic_weight=1.0, scale_drop=0.1)
    with pytest.raises(UsageError, match=r"192 features per cell, the semantic decoder 7"):
        TrainableTokenFlow(
            TokenFlowConfig.from_mapping(model), method, seed=0, teacher=RandomConvTeacher()
        )


def test_a_stage_that_trains_its_teacher_must_come_before(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: tokenflow-tiny\nstages: {train: {method: {teacher: {stage: other}}}}\n"
    )
    with pytest.raises(UsageError, match=r"train needs other, .* those are: teacher\. .*method"):
        check_stages(read_stages(file))
    check_stages(presets()["tokenflow-tiny"].stages())


def test_a_teacher_of_another_run_is_looked_for_before_anything_is_trained(tmp_path):
    file = tmp_path / "mine.yaml"
    given = f"{{stage: null, weights: {tmp_path}}}"
    file.write_text(
        f"extends: tokenflow-tiny\nstages: {{train: {{method: {{teacher: {given}}}}}}}\n"
    )
    with pytest.raises(MissingPrerequisite, match=r"teacher in miniature is not in"):
        require(read_stages(file))
