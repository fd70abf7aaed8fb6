from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.training.teachers.build import build_teacher
from medbench.harness.training.teachers.miniature import (
    FACTS,
    WEIGHTS,
    MiniatureTerms,
    build_miniature,
    load_miniature,
    save_facts,
)
from medbench.harness.training.teachers.protocol import TeacherTerms
from medbench.harness.training.teachers.words import WordTokenizer

WORDS = WordTokenizer(["left", "nodule", "right"], 6)
TERMS = MiniatureTerms(
    side=32,
    image_widths=(16, 16, 16, 32),
    embed_dims=12,
    text_width=16,
    text_heads=2,
    context_length=6,
)
TEXTS = ["nodule left", "right"]


@pytest.fixture
def stage(tmp_path):
    """A finished stage's folder, and the network that it holds."""
    network = build_miniature(TERMS, WORDS, seed=3).eval()
    folder = tmp_path / "teacher"
    save_facts(folder, TERMS, WORDS)
    halves = {name: value.half() for name, value in network.state_dict().items()}
    save_file(halves, folder / WEIGHTS)
    network.load_state_dict({name: value.float() for name, value in halves.items()})
    return folder, network


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_a_saved_teacher_embeds_as_open_clips_own_model_does(stage, images) -> None:
    folder, network = stage
    teacher = load_miniature(folder).eval()
    projected = network.encode_image(images)
    found = teacher.embed_images(images)
    assert found.shape == (2, teacher.vision_dims) == (2, 32)
    torch.testing.assert_close(network.visual.head(found), projected)
    texts = teacher.embed_texts(TEXTS)
    assert texts.shape == (2, teacher.text_dims) == (2, 12)
    torch.testing.assert_close(texts, network.encode_text(WORDS(TEXTS)))


@torch.no_grad()
def test_larger_images_are_averaged_to_the_towers_side(stage, images) -> None:
    teacher = load_miniature(stage[0])
    large = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(teacher.embed_images(large), teacher.embed_images(images))


@torch.no_grad()
def test_an_embedding_depends_on_no_other_image(stage, images) -> None:
    teacher = load_miniature(stage[0]).train()
    alone = teacher.embed_images(images[:1])
    torch.testing.assert_close(teacher.embed_images(images)[:1], alone, rtol=1e-5, atol=1e-6)


def test_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_miniature(TERMS, WORDS, seed=0).state_dict()
    torch.rand(2)
    second = build_miniature(TERMS, WORDS, seed=0).state_dict()
    other = build_miniature(TERMS, WORDS, seed=1).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_stage_names_the_folder_beside_its_own(stage) -> None:
    folder, _ = stage
    by_stage = build_teacher(TeacherTerms("miniature", stage="teacher"), folder.parent)
    by_folder = build_teacher(TeacherTerms("miniature", weights=str(folder)), folder)
    pairs = zip(by_stage.state_dict().values(), by_folder.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_a_tower_that_was_let_go_is_gone(stage, images) -> None:
    teacher = load_miniature(stage[0])
    whole = sum(p.numel() for p in teacher.parameters())
    teacher.keep_only("text")
    assert 0 < sum(p.numel() for p in teacher.parameters()) < whole
    with pytest.raises(UsageError, match="vision tower"):
        teacher.embed_images(images)


def test_a_stage_that_was_not_trained_is_named(tmp_path) -> None:
    save_facts(tmp_path / "teacher", TERMS, WORDS)
    with pytest.raises(MissingPrerequisite, match=r"weights\.safetensors is missing"):
        build_teacher(TeacherTerms("miniature", stage="teacher"), tmp_path)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (TeacherTerms("miniature"), "either `stage`"),
        (TeacherTerms("clip", stage="teacher"), "goes with `miniature` only"),
        (TeacherTerms("clipp"), "unknown teacher 'clipp'; known: miniature, biomedclip, clip"),
    ],
)
def test_teachers_that_cannot_be_are_refused(tmp_path, terms, message) -> None:
    with pytest.raises(UsageError, match=message):
        build_teacher(terms, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"words": ["a"]}',
        '{"miniature": {}, "words": "abc"}',
        '{"miniature": {"x": 1}, "words": ["a"]}',
    ],
)
def test_damaged_facts_are_named(stage, content) -> None:
    folder, _ = stage
    (folder / FACTS).write_text(content)
    with pytest.raises(UsageError, match=FACTS):
        load_miniature(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_widths": (16, 32)}, "4 multiples of 16"),
        ({"image_widths": (16, 32, 64, 100)}, "4 multiples of 16"),
        ({"text_heads": 3}, "no multiple of text_heads 3"),
    ],
)
def test_impossible_sizes_are_refused(changes, message) -> None:
    with pytest.raises(UsageError, match=message):
        build_miniature(replace(TERMS, **changes), WORDS, seed=0)


def test_weights_of_another_vocabulary_are_refused(stage) -> None:
    folder, _ = stage
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps({**facts, "words": ["left"]}))
    with pytest.raises(UsageError, match="text"):
        load_miniature(folder)
