"""Feature spaces by name: local weights only, and never random ones by accident."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.metrics.extractors.encoder import EncoderExtractor
from medbench.harness.metrics.extractors.named import resolve
from medbench.harness.metrics.extractors.protocol import Extractor

MODEL = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model(MODEL, num_classes=0).eval()


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(model.state_dict(), path)
    return path


def test_a_timm_network_from_a_file_gives_its_own_pooled_features(model, file, rng):
    named = resolve(f"timm:{MODEL}={file}")
    extractor = EncoderExtractor(named)
    assert isinstance(extractor, Extractor)
    images = rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    found = extractor(images)
    assert found.shape == (3, extractor.dims) == (3, 192)
    assert found.dtype == np.float32
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    small = torch.nn.functional.interpolate(pixels, (224, 224), mode="bicubic", antialias=True)
    facts = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(facts[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.inference_mode():
        want = model((small.clamp(0, 1) - mean) / std).numpy()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_the_name_and_the_definition_carry_the_weights(file):
    named = resolve(f"timm:{MODEL}={file}")
    assert named.name == f"timm:{MODEL}@{named.sha256[:8]}"
    assert named.definition["weights_sha256"] == named.sha256


def test_an_open_clip_tower_from_a_file(tmp_path, rng):
    torch.manual_seed(0)
    model = open_clip.create_model("RN50-quickgelu")
    path = tmp_path / "clip.pt"
    torch.save(model.state_dict(), path)
    named = resolve(f"openclip:RN50-quickgelu={path}")
    found = EncoderExtractor(named)(rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8))
    assert found.shape == (1, 1024)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "name",
    ["dinov2", "timm:vit_small_patch14_dinov2.lvd142m", "openclip:ViT-B-32/laion2b_s34b_b79k"],
)
def test_weights_that_are_not_here_are_refused_and_never_replaced(name):
    with pytest.raises(MissingPrerequisite, match="random weights are never used"):
        resolve(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "give one of dinov2"),
        ("timm:", "give one of dinov2"),
        ("timm:no_such_network", "timm has no such model"),
        ("openclip:ViT-B-32/no_such_tag", "give MODEL/TAG"),
        (f"timm:{MODEL}=/nowhere/file", "does not exist"),
    ],
)
def test_what_means_nothing_is_refused(name, message):
    with pytest.raises((UsageError, MissingPrerequisite), match=message):
        resolve(name)


def test_a_file_of_another_network_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="does not fit|of the network random"):
        EncoderExtractor(resolve(f"timm:{MODEL}={tmp_path / 'other.safetensors'}"))


def test_a_file_that_leaves_a_part_random_is_refused(model, tmp_path):
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("blocks.11.")}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(
        UsageError, match=r"does not fit|blocks\.11\..* random|of the network random"
    ):
        EncoderExtractor(resolve(f"timm:{MODEL}={tmp_path / 'part.safetensors'}"))
