"""Models of other libraries, small and random, written to a folder as the hub has them."""

from __future__ import annotations

import json
import re

import pytest
import torch

from medbench import load_tokenizer
from medbench.baselines import hub_encoder
from medbench.harness.conformance import validate
from medbench.harness.entries import HubFile
from medbench.harness.errors import MissingPrerequisite, NotApplicable, UsageError
from medbench.harness.protocol import Encoding
from medbench.harness.tokenizer_registry import choose_tokenizer

diffusers = pytest.importorskip("diffusers", reason="the optional extra `hub`")

BLOCKS = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (8, 8, 16),
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def _saved(kind: str, folder, **sizes):
    torch.manual_seed(0)
    model = getattr(diffusers, kind)(**BLOCKS, **sizes).eval()
    if kind == "VQModel":
        torch.nn.init.normal_(model.quantize.embedding.weight)
    model.save_pretrained(folder)
    return model


@pytest.fixture
def vq(tmp_path):
    return _saved("VQModel", tmp_path, latent_channels=4, num_vq_embeddings=64)


@pytest.fixture
def kl(tmp_path):
    return _saved("AutoencoderKL", tmp_path, latent_channels=4)


@torch.no_grad()
def test_a_vq_model_gives_what_the_library_gives(vq, tmp_path):
    ours = load_tokenizer(f"diffusers:{tmp_path}")
    images = torch.rand(2, 3, 32, 32)
    found = ours.encode(images)
    latent = vq.encode(images * 2 - 1).latents
    _, _, (_, _, indices) = vq.quantize(latent)
    assert torch.equal(found.indices.flatten(), indices.flatten())
    expected = vq.decode(latent).sample
    torch.testing.assert_close(ours.decode(found) * 2 - 1, expected, **CLOSE)
    from_indices = ours.decode(Encoding(indices=found.indices))
    torch.testing.assert_close(from_indices * 2 - 1, expected, **CLOSE)
    assert (ours.info.kind, ours.info.bits_per_image) == ("discrete", 64 * 64 * 6)


@torch.no_grad()
def test_a_continuous_autoencoder_gives_the_mean_and_no_sample(kl, tmp_path):
    ours = load_tokenizer(f"diffusers:{tmp_path}")
    images = torch.rand(2, 3, 32, 32)
    mean = kl.encode(images * 2 - 1).latent_dist.mean
    found = ours.encode(images)
    torch.testing.assert_close(found.latents, mean, **CLOSE)
    torch.testing.assert_close(ours.decode(found) * 2 - 1, kl.decode(mean).sample, **CLOSE)
    assert ours.info.kind == "continuous"


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_they_keep_the_protocol(kind, request, tmp_path):
    request.getfixturevalue(kind)
    report = validate(load_tokenizer(f"diffusers:{tmp_path}"))
    assert report.passed, "\n".join(report.lines())


def test_a_file_that_does_not_fill_the_network_is_refused(vq, tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state.pop("quant_conv.bias")
    save_file(state, path)
    with pytest.raises(UsageError, match=r"missing: quant_conv\.bias"):
        load_tokenizer(f"diffusers:{tmp_path}")


def test_other_classes_and_absent_configurations_are_named(vq, tmp_path):
    config = tmp_path / "config.json"
    facts = json.loads(config.read_text())
    config.write_text(json.dumps(facts | {"_class_name": "UNet2DModel"}))
    with pytest.raises(UsageError, match=r"class 'UNet2DModel'; supported: AutoencoderKL"):
        load_tokenizer(f"diffusers:{tmp_path}")
    config.unlink()
    with pytest.raises(MissingPrerequisite, match=r"expected config\.json"):
        load_tokenizer(f"diffusers:{tmp_path}")


def test_a_hub_model_that_is_not_here_names_the_command():
    with pytest.raises(MissingPrerequisite, match=r"weights fetch diffusers:someone/vae@main"):
        load_tokenizer("diffusers:someone/vae")
    with pytest.raises(UsageError, match="neither a folder nor a repository"):
        load_tokenizer("diffusers:not a repository")


def test_a_sub_folder_and_a_revision_are_asked_for():
    declared = choose_tokenizer("diffusers:someone/sd#vae@v2").declared
    assert declared is not None
    name = "vae/diffusion_pytorch_model.safetensors"
    assert declared.weights == HubFile("someone/sd", name, "v2")
    assert declared.companions == (HubFile("someone/sd", "vae/config.json", "v2"),)


@torch.no_grad()
def test_an_emu3_model_of_transformers_gives_what_the_library_gives(tmp_path):
    from transformers import Emu3VQVAE, Emu3VQVAEConfig

    config = Emu3VQVAEConfig(
        codebook_size=64,
        base_channels=32,
        channel_multiplier=[1, 2],
        num_res_blocks=1,
        attn_resolutions=[1],
        hidden_size=64,
        num_attention_heads=1,
    )
    torch.manual_seed(0)
    library = Emu3VQVAE(config).eval()
    torch.nn.init.normal_(library.quantize.embedding.weight)
    library.save_pretrained(tmp_path)
    ours = load_tokenizer(f"hf:{tmp_path}")
    images = torch.rand(1, 3, 32, 32)
    found = ours.encode(images)
    theirs = library.encode(images * 2 - 1, torch.tensor([[32, 32]])).image_tokens[0]
    assert torch.equal(found.indices.flatten(), theirs.flatten())
    back = library.decode(theirs.reshape(1, 16, 16))
    torch.testing.assert_close(ours.decode(found) * 2 - 1, back, **CLOSE)
    assert ours.info.name == f"hf:{tmp_path.name}"


def test_a_hub_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    torch.save({"a": torch.ones(1)}, tmp_path / "model.bin")
    with pytest.raises(UsageError, match="type 'bert'; Emu3-style"):
        load_tokenizer(f"hf:{tmp_path}")


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_a_timm_encoder_gives_the_librarys_tokens_without_class_tokens(name, tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    library = timm.create_model(name, pretrained=False)
    save_file(library.state_dict(), tmp_path / "model.safetensors")
    ours = load_tokenizer(f"timm:{name}", weights=tmp_path / "model.safetensors")
    facts = timm.data.resolve_model_data_config(library)
    side = facts["input_size"][-1]
    images = torch.rand(2, 3, side, side)
    mean, std = (torch.tensor(facts[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    expected = library.eval().forward_features((images - mean) / std)
    if expected.ndim == 4:
        expected = expected.flatten(2).transpose(1, 2)
    else:
        expected = expected[:, library.num_prefix_tokens :]
    torch.testing.assert_close(ours.features(images), expected, **CLOSE)
    assert ours.features(torch.rand(1, 3, 256, 256)).shape[1:] == expected.shape[1:]


def test_an_encoder_says_that_it_cannot_reconstruct_and_keeps_the_protocol(tmp_path):
    import timm
    from safetensors.torch import save_file

    library = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_file(library.state_dict(), tmp_path / "model.safetensors")
    ours = load_tokenizer("timm:vit_tiny_patch16_224", weights=tmp_path / "model.safetensors")
    with pytest.raises(NotApplicable, match="encoder without a decoder"):
        ours.encode(torch.rand(1, 3, 32, 32))
    report = validate(ours)
    assert report.passed, "\n".join(report.lines())


@torch.no_grad()
def test_an_open_clip_tower_gives_the_librarys_tokens(tmp_path):
    import open_clip

    torch.manual_seed(0)
    # What OpenAI published was trained with the quick form of GELU.
    library = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    torch.save(library.state_dict(), tmp_path / "model.pt")
    ours = load_tokenizer("open_clip:ViT-B-32/openai", weights=tmp_path / "model.pt")
    images = torch.rand(1, 3, 224, 224)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    library.visual.output_tokens = True
    library.visual.proj = None
    _, tokens = library.visual((images - mean) / std)
    torch.testing.assert_close(ours.features(images), tokens, **CLOSE)
    assert "last layer, normalised" in ours.info.source


@torch.no_grad()
def test_llavas_tower_gives_the_patches_of_its_second_to_last_layer(tmp_path, monkeypatch):
    import open_clip

    monkeypatch.setattr(hub_encoder, "_LLAVA_TOWERS", {"ViT-B-32/openai"})
    library = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    torch.save(library.state_dict(), tmp_path / "model.pt")
    seen = []
    second_to_last = library.visual.transformer.resblocks[-2]
    second_to_last.register_forward_hook(lambda _, __, output: seen.append(output))
    ours = load_tokenizer("open_clip:ViT-B-32/openai", weights=tmp_path / "model.pt")
    images = torch.rand(1, 3, 224, 224)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    library.visual((images - mean) / std)
    torch.testing.assert_close(ours.features(images), seen[0][:, 1:], **CLOSE)
    assert "second-to-last layer, not normalised" in ours.info.source


def test_llavas_tower_is_the_one_of_the_papers_table():
    assert "ViT-L-14-336/openai" in hub_encoder._LLAVA_TOWERS


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("timm:vit_tinny", "timm has no model of that name"),
        ("open_clip:ViT-B-32", "its weights: openai"),
        ("open_clip:ViT-Q/openai", "no such model"),
    ],
)
def test_misspelt_models_of_libraries_are_refused_with_help(reference, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        choose_tokenizer(reference)
