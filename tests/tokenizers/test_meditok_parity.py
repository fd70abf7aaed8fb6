"""The network against upstream's own outputs on weights that follow from their keys."""

from __future__ import annotations

import pytest
import torch

from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel
from medbench.tokenizers.meditok_network import build_network

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(params=[("meditok", True), ("unitok", False)], ids=["meditok", "unitok"])
def case(request, golden):
    name, causal = request.param
    example = golden(name)
    config = MedITokConfig.from_mapping(example.config)
    model = build_network(config, example.weights, name=name, causal=causal).eval()
    return example, model


@torch.no_grad()
def test_every_stage_gives_upstreams_numbers(case):
    example, model = case
    expected, x = example.outputs, example.outputs["x"]
    output = model(x)
    torch.testing.assert_close(output.tokens, expected["encoder_tokens"], **CLOSE)
    torch.testing.assert_close(model.encode_latent(x), expected["z"], **CLOSE)
    assert torch.equal(output.quantised.indices, expected["indices"])
    torch.testing.assert_close(output.quantised.zq, expected["z_q"], **CLOSE)
    torch.testing.assert_close(output.quantised.vq_loss, expected["vq_loss"][0], **CLOSE)
    torch.testing.assert_close(output.post_tokens, expected["post_tokens"], **CLOSE)
    torch.testing.assert_close(output.rec, expected["rec"], **CLOSE)
    torch.testing.assert_close(output.rec.clamp(-1, 1), expected["rec_direct"], **CLOSE)
    embedding = model.image_embedding(output.post_tokens)
    torch.testing.assert_close(embedding, expected["clip_image_feature"], **CLOSE)


@torch.no_grad()
def test_the_index_path_gives_upstreams_image(case):
    example, model = case
    zq = model.quantizer.look_up(example.outputs["indices"])
    torch.testing.assert_close(zq, example.outputs["z_q"], **CLOSE)
    rec = model.decode_latent(zq, (4, 4))
    torch.testing.assert_close(rec.clamp(-1, 1), example.outputs["rec_clamped"], **CLOSE)


@torch.no_grad()
def test_the_mean_encoder_token_is_meditoks_published_feature(golden):
    example = golden("meditok")
    config = MedITokConfig.from_mapping(example.config)
    model = build_network(config, example.weights, name="meditok", causal=True).eval()
    pooled = model.encode_tokens(example.outputs["x"]).mean(dim=1)
    torch.testing.assert_close(pooled, example.outputs["pooled_feature"], **CLOSE)


@torch.no_grad()
def test_the_causal_switch_decides_between_the_two_models(case):
    example, model = case
    other = MedITokModel(model.config, causal=not model.quant_proj.attn.causal).eval()
    other.load_state_dict(model.state_dict())
    latent = other.encode_latent(example.outputs["x"])
    assert (latent - example.outputs["z"]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("name", "captions"), [("meditok_simple_v1", False), ("unitok_tokenizer", True)]
)
def test_keys_and_shapes_are_those_of_the_published_file(layout, name, captions):
    published = layout(name)
    assert any(key.startswith("text_encoder.") for key in published) == captions
    image_side = {k: s for k, s in published.items() if not k.startswith("text_encoder.")}
    with torch.device("meta"):
        model = MedITokModel(MedITokConfig())
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == image_side


def test_the_published_network_has_its_published_parameter_count():
    with torch.device("meta"):
        model = MedITokModel(MedITokConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 696_648_388
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 696_683_204


def test_the_encoder_is_timms_own_vitamin():
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(
            "vitamin_large_256",
            pos_embed="none",
            num_classes=0,
            global_pool="",
            act_layer="gelu_tanh",
        )
        ours = MedITokModel(MedITokConfig()).encoder
    shapes = {key: value.shape for key, value in ours.state_dict().items() if key != "pos_embed"}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}
