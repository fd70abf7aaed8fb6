from __future__ import annotations

import pytest
import torch
from torch import distributions
from torch.nn import functional as F

import medbench
from medbench.baselines.medvae import build, build_rgb
from medbench.baselines.medvae_lora import AdaptedConv2d, merge_adapters
from medbench.baselines.medvae_model import MedVAEModel
from medbench.baselines.taming_catalogue import (
    MEDVAE_4_1_CONFIG,
    MEDVAE_4_3_CONFIG,
    MEDVAE_8_1_CONFIG,
    MEDVAE_8_4_CONFIG,
)
from medbench.baselines.taming_config import MedVAEConfig
from medbench.harness.conformance import validate
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SMALL = {
    "embed_dim": 2,
    "ddconfig": MEDVAE_8_1_CONFIG["ddconfig"]
    | {"z_channels": 3, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1},
}
DEEP = SMALL | {"ddconfig": SMALL["ddconfig"] | {"ch_mult": [1, 1, 1, 1, 1]}}
"""Where attention has few positions at 256 pixels."""
DEEP_COLOUR = DEEP | {"ddconfig": DEEP["ddconfig"] | {"in_channels": 3, "out_ch": 3}}
SMALL_COLOUR = SMALL | {"ddconfig": SMALL["ddconfig"] | {"in_channels": 3, "out_ch": 3}}


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def _weights(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MedVAEModel(MedVAEConfig.from_mapping(config)).state_dict()


@pytest.fixture(scope="module")
def tokenizer():
    return build(variant="custom", config=SMALL, weights=_weights(SMALL))


@pytest.fixture(scope="module")
def rgb():
    return build_rgb(variant="custom", config=SMALL, weights=_weights(SMALL))


@pytest.mark.parametrize("name", ["medvae_1c", "medvae_lora"])
def test_every_stage_gives_upstreams_numbers(golden, name):
    example = golden(name)
    expected = example.outputs
    ours = medbench.load_tokenizer(
        "medbench.baselines.medvae:build", config=example.config, weights=example.weights
    )
    images = ((expected["x"] + 1) / 2).expand(-1, 3, -1, -1).contiguous()
    encoding = ours.encode(images)
    assert encoding.indices is None
    torch.testing.assert_close(encoding.latents, expected["z_mean"], **CLOSE)
    rec = ours.decode(encoding) * 2 - 1
    torch.testing.assert_close(rec, expected["rec"].expand_as(rec), **CLOSE)
    projected = expected["latent_proj"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.features(images), projected, **CLOSE)
    mean = expected["z_mean"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.continuous(images), mean, **CLOSE)
    posterior = ours.model.encode(expected["x"])
    torch.testing.assert_close(posterior.logvar, expected["z_logvar"], **CLOSE)
    torch.testing.assert_close(posterior.kl(), expected["kl"], **CLOSE)
    assert ours.info.parameters == sum(tensor.numel() for tensor in example.weights.values())


def test_divergence_is_that_of_two_gaussians(tokenizer):
    posterior = tokenizer.model.encode(_images(2, 16)[:, :1])
    ours = distributions.Normal(posterior.mean, (posterior.logvar / 2).exp())
    closed = distributions.kl_divergence(ours, distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl(), closed.sum(dim=(1, 2, 3)), **CLOSE)


@pytest.mark.parametrize(
    ("config", "name", "parameters"),
    [
        (MEDVAE_8_1_CONFIG, "medvae_8_1_2d", 83_644_814),
        (MEDVAE_4_1_CONFIG, "medvae_4_1_2d", 55_316_878),
        (MEDVAE_8_4_CONFIG, "medvae_8_4_2d", 84_460_415),
        (MEDVAE_4_3_CONFIG, "medvae_4_3_2d", 55_913_678),
    ],
)
def test_keys_and_shapes_are_those_of_the_published_file(layout, config, name, parameters):
    with torch.device("meta"):
        model = MedVAEModel(MedVAEConfig.from_mapping(config))
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == layout(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@torch.no_grad()
def test_merging_an_adapter_changes_no_output(golden):
    example = golden("medvae_lora")
    model = MedVAEModel(MedVAEConfig.from_mapping(example.config))
    model.load_state_dict(example.weights)
    adapted = {n: m for n, m in model.named_modules() if isinstance(m, AdaptedConv2d)}
    assert len(adapted) == sum(key.endswith("lora_up.weight") for key in example.weights)
    expected, inputs = {}, {}
    for place, (name, layer) in enumerate(adapted.items()):
        generator = torch.Generator().manual_seed(place)
        x = torch.randn(1, layer.conv.in_channels, 6, 6, generator=generator)
        low = F.conv2d(x, layer.lora_down.weight, padding=layer.conv.padding)
        inputs[name] = x
        expected[name] = layer.conv(x) + F.conv2d(low, layer.lora_up.weight)
    merge_adapters(model)
    assert not any("lora" in key for key in model.state_dict())
    for name, x in inputs.items():
        torch.testing.assert_close(model.get_submodule(name)(x), expected[name], **CLOSE)


def test_the_rank_of_the_adapters_is_read_from_the_checkpoint(golden):
    example = golden("medvae_lora")
    config = {key: value for key, value in example.config.items() if key != "lora_rank"}
    made = build(variant="custom", config=config, weights=example.weights)
    expected = example.outputs
    found = made.encode((expected["x"] + 1) / 2)
    torch.testing.assert_close(found.latents, expected["z_mean"], **CLOSE)


def test_a_checkpoint_that_was_merged_before_is_taken_as_it_is(golden):
    example = golden("medvae_lora")
    first = build(variant="custom", config=example.config, weights=example.weights)
    again = build(variant="custom", config=example.config, weights=first.model.state_dict())
    images = (example.outputs["x"] + 1) / 2
    assert torch.equal(again.encode(images).latents, first.encode(images).latents)


@pytest.mark.parametrize("config", [DEEP, DEEP_COLOUR | {"lora_rank": 3}], ids=["grey", "colour"])
def test_it_keeps_the_protocol(config):
    made = build(variant="custom", config=config, weights=_weights(config))
    assert isinstance(made, ContinuousTokenizer)
    report = validate(made)
    assert report.passed, report.lines()


def test_three_passes_keep_the_protocol():
    report = validate(build_rgb(variant="custom", config=DEEP, weights=_weights(DEEP)))
    assert report.passed, report.lines()


def test_one_pass_sees_luma_and_three_passes_see_colour(tokenizer, rgb):
    images = _images(2, 16)
    luma = images.mul(torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(1, keepdim=True)
    grey = luma.expand_as(images).contiguous().clamp(0, 1)
    assert tokenizer.info.colour == "luma"
    torch.testing.assert_close(
        tokenizer.encode(images).latents, tokenizer.encode(grey).latents, **CLOSE
    )
    assert rgb.info.colour == "rgb"
    assert not torch.allclose(rgb.encode(images).latents, rgb.encode(grey).latents, atol=1e-3)


def test_each_pass_is_one_channel_alone_at_three_times_the_bits(tokenizer, rgb):
    images = _images(2, 16)
    apart = [images[:, c : c + 1].expand_as(images).contiguous() for c in range(3)]
    encoded = [tokenizer.encode(one) for one in apart]
    together = rgb.encode(images)
    assert together.latents.shape == (2, 6, 8, 8)
    torch.testing.assert_close(
        together.latents, torch.cat([e.latents for e in encoded], 1), **CLOSE
    )
    decoded = torch.cat([tokenizer.decode(e)[:, :1] for e in encoded], dim=1)
    torch.testing.assert_close(rgb.decode(together), decoded, **CLOSE)
    features = torch.cat([tokenizer.features(one) for one in apart], dim=2)
    torch.testing.assert_close(rgb.features(images), features, **CLOSE)
    assert rgb.info.bits_per_image == 3 * tokenizer.info.bits_per_image == 3 * 2 * 128**2 * 16


@pytest.mark.parametrize(("ch_mult", "blocks", "width"), [([1], 2, 1), ([1, 1, 2, 1, 1], 1, 7)])
def test_any_depth_and_latent_width_runs(ch_mult, blocks, width):
    ddconfig = SMALL["ddconfig"] | {"ch_mult": ch_mult, "num_res_blocks": blocks}
    config = {"embed_dim": width, "ddconfig": ddconfig | {"attn_resolutions": [64]}}
    made = build(variant="custom", config=config, weights=_weights(config))
    f = 2 ** (len(ch_mult) - 1)
    images = _images(1, 3 * f)
    encoding = made.encode(images)
    assert encoding.latents.shape == (1, width, 3, 3)
    assert made.decode(encoding).shape == images.shape


def test_without_the_projection_the_features_are_the_latent():
    config = SMALL | {"apply_channel_ds": False}
    made = build(variant="custom", config=config, weights=_weights(config))
    assert torch.equal(made.features(_images(1, 16)), made.continuous(_images(1, 16)))


def test_a_network_that_sees_colour_is_not_run_three_times():
    with pytest.raises(UsageError, match="use medvae instead of medvae-rgb"):
        build_rgb(variant="custom", config=SMALL_COLOUR, weights=_weights(SMALL_COLOUR))


@pytest.mark.parametrize("factory", [build, build_rgb])
def test_missing_published_weights_name_file_size_licence_and_command(
    factory, monkeypatch, tmp_path
):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    name = "medvae-rgb" if factory is build_rgb else "medvae"
    with pytest.raises(MissingPrerequisite) as caught:
        factory(variant="official")
    message = str(caught.value)
    for part in (f"weights fetch {name}@official", "vae_8x_1c_2D.ckpt", "0.34 GB", "MIT"):
        assert part in message


def test_a_configuration_without_weights_is_refused():
    with pytest.raises(UsageError, match="random ones measure nothing"):
        build(variant="mine", config=SMALL)


@pytest.mark.parametrize("latents", [None, torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 5)])
def test_what_cannot_be_decoded_is_refused(tokenizer, latents):
    with pytest.raises(UsageError, match=r"medvae@custom: (decode needs latents|latents must be)"):
        tokenizer.decode(Encoding(latents=latents))


def test_another_models_checkpoint_is_refused(golden):
    with pytest.raises(UsageError, match="does not fit the network"):
        build(variant="mine", config=SMALL, weights=golden("vqgan").weights)
    with pytest.raises(UsageError, match=r"3 levels, 3 image channels and 8 latent.*--config"):
        weights = {"encoder.conv_in.weight": torch.zeros(9, 3, 3, 3)}
        weights |= {"encoder.down.2.block.0.norm1.weight": torch.zeros(9)}
        build(variant="mine", weights=weights | {"post_quant_conv.weight": torch.zeros(3, 8, 1, 1)})
    with pytest.raises(UsageError, match=r"medvae@mine: the checkpoint does not fit"):
        build(variant="mine", weights=golden("medvae_1c").weights)  # published outline, narrower
