from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from transformers import BertConfig, BertTokenizerFast

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.training.teachers.open_clip_teacher import UNTRAINED, load_open_clip

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "nodule", "left"]
SIZES: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}
TEXTS = ["a small nodule", "left"]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True)
def empty_roots(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """BiomedCLIP's layout: a vision transformer of timm's, BERT with an MLP, their tokenizer."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    ).save_pretrained(folder)
    sizes = {
        "embed_dim": 12,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 160,
        },
        "text_cfg": {
            "hf_model_name": str(folder),
            "hf_tokenizer_name": str(folder),
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 8,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": sizes}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@torch.no_grad()
def test_a_folder_gives_what_open_clip_gives(folder, images) -> None:
    model: Any = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    teacher = load_open_clip("biomedclip", str(folder)).eval()
    assert (teacher.vision_dims, teacher.text_dims) == (model.visual.trunk.num_features, 12)
    torch.testing.assert_close(teacher.embed_texts(TEXTS), model.encode_text(tokens))
    rows = torch.arange(160) * 64 // 160  # nearest, as upstream
    large = images[:, :, rows][:, :, :, rows]
    torch.testing.assert_close(teacher.embed_images(images), model.visual.trunk(large))


def test_the_weights_root_is_looked_into(folder, tmp_path) -> None:
    place = tmp_path / "weights" / "owner" / "model"
    place.parent.mkdir(parents=True)
    place.symlink_to(folder)
    teacher = load_open_clip("open_clip:owner/model", None)
    assert teacher.text_dims == 12


@torch.no_grad()
def test_a_weights_file_of_a_known_model_gives_what_open_clip_gives(
    tmp_path, images, monkeypatch
) -> None:
    monkeypatch.setattr(open_clip, "get_model_config", lambda _name: dict(SIZES))
    torch.manual_seed(0)
    model: Any = CLIP(**SIZES).eval()
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    teacher = load_open_clip("clip", str(tmp_path / "clip.safetensors")).eval()
    assert (teacher.vision_dims, teacher.text_dims) == (64, 12)
    tokens = open_clip.get_tokenizer("ViT-B-16")(TEXTS)
    torch.testing.assert_close(teacher.embed_texts(TEXTS), model.encode_text(tokens))
    seen = teacher.embed_images(images) @ model.visual.proj
    torch.testing.assert_close(seen, model.encode_image(images[:, :, ::2, ::2]))


def test_an_untrained_model_has_the_shapes_of_the_published_one(monkeypatch, images) -> None:
    monkeypatch.setattr(open_clip, "get_model_config", lambda _name: dict(SIZES))
    teacher = load_open_clip("clip", UNTRAINED)
    assert teacher.embed_images(images).shape == (2, 64)
    assert teacher.embed_texts(TEXTS).shape == (2, 12)


@pytest.mark.slow
def test_biomedclips_shapes_are_the_published_ones() -> None:
    teacher = load_open_clip("biomedclip", UNTRAINED)
    assert (teacher.vision_dims, teacher.text_dims) == (768, 512)
    # ViT-B/16 without head: 85.8 M; PubMedBERT (BERT base) without pooler: 108.9 M, and 640².
    assert sum(p.numel() for p in teacher.tower("vision").parameters()) == 85_798_656
    text = 109_482_240 - 590_592 + 768 * 640 + 640 * 512
    assert sum(p.numel() for p in teacher.tower("text").parameters()) == text
    with torch.no_grad():
        assert teacher.embed_texts(["lung"]).shape == (1, 512)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("biomedclip", None, "hf download microsoft/BiomedCLIP"),
        ("clip", None, "timm/vit_base_patch16_clip_224.openai"),
        ("open_clip:owner/model", None, "hf download owner/model"),
        ("biomedclip", "/nowhere", "no folder with open_clip_config.json"),
        ("clip", "/nowhere.pt", r"no weights file /nowhere\.pt"),
    ],
)
def test_what_is_missing_is_named_with_the_way_to_get_it(name, weights, message) -> None:
    with pytest.raises(MissingPrerequisite, match=message):
        load_open_clip(name, weights)


def test_a_folder_without_its_weights_is_named(folder) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(MissingPrerequisite, match=r"none of open_clip_model\.safetensors"):
        load_open_clip("biomedclip", str(folder))


def test_weights_of_another_model_are_refused(folder) -> None:
    save_file({"visual.proj": torch.ones(2)}, folder / "open_clip_model.safetensors")
    with pytest.raises(UsageError, match="does not fit"):
        load_open_clip("biomedclip", str(folder))


def test_a_name_that_is_neither_model_nor_repository_is_refused() -> None:
    with pytest.raises(UsageError, match="neither MODEL/WEIGHTS"):
        load_open_clip("open_clip:nothing", None)
