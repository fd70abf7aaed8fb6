from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

import medbench
from medbench.baselines.taming_catalogue import VQGAN_F8_CONFIG, VQGAN_F16_CONFIG
from medbench.baselines.taming_config import VQGANConfig
from medbench.baselines.vqgan import build
from medbench.baselines.vqgan_model import VQGANModel
from medbench.harness.conformance import validate
from medbench.harness.errors import ExitCode, MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SMALL = {
    "embed_dim": 3,
    "n_embed": 50,
    "ddconfig": VQGAN_F8_CONFIG["ddconfig"]
    | {"z_channels": 5, "resolution": 32, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1}
    | {"attn_resolutions": [16]},
}
DEEP = SMALL | {
    "ddconfig": SMALL["ddconfig"] | {"ch_mult": [1, 1, 1, 1, 1], "resolution": 256},
}
"""Where attention has few positions at 256 pixels."""
GUMBEL = DEEP | {"embed_dim": 5, "temperature_scheduler_config": {}, "kl_weight": 1e-8}


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def _weights(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VQGANModel(VQGANConfig.from_mapping(config)).state_dict()


@pytest.fixture(scope="module")
def tokenizer():
    return build(variant="custom", config=SMALL, weights=_weights(SMALL))


def test_every_stage_gives_upstreams_numbers(golden):
    example = golden("vqgan")
    expected = example.outputs
    ours = medbench.load_tokenizer(
        "medbench.baselines.vqgan:build", config=example.config, weights=example.weights
    )
    images = (expected["x"] + 1) / 2
    encoding = ours.encode(images)
    assert torch.equal(encoding.indices, expected["indices"].flatten(1).unsqueeze(1))
    torch.testing.assert_close(encoding.latents, expected["z_q"], **CLOSE)
    torch.testing.assert_close(encoding.latents, expected["z_q_from_indices"], **CLOSE)
    z = ours.continuous(images).transpose(1, 2).reshape(2, 4, 8, 8)
    torch.testing.assert_close(z, expected["z"], **CLOSE)
    of_latents = ours.decode(Encoding(latents=encoding.latents)) * 2 - 1
    torch.testing.assert_close(of_latents, expected["rec"], **CLOSE)
    of_indices = ours.decode(Encoding(indices=encoding.indices)) * 2 - 1
    torch.testing.assert_close(of_indices, expected["rec_from_indices"], **CLOSE)
    loss = ours.model.quantize(expected["z"]).vq_loss
    torch.testing.assert_close(loss, expected["vq_loss"][0], **CLOSE)
    tokens = expected["z_q"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.features(images), tokens, **CLOSE)
    assert ours.info.bits_per_image == 1024 * 8


@pytest.mark.parametrize(
    ("config", "name", "parameters"),
    [
        (VQGAN_F8_CONFIG, "vqgan_openimages_f8_16384", 67_717_295),
        (VQGAN_F16_CONFIG, "vqgan_imagenet_f16_16384", 76_073_859),
    ],
)
def test_keys_and_shapes_are_those_of_the_published_file(layout, config, name, parameters):
    with torch.device("meta"):
        model = VQGANModel(VQGANConfig.from_mapping(config))
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == layout(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("config", [DEEP, GUMBEL], ids=["distance", "gumbel"])
def test_it_keeps_the_protocol(config):
    made = build(variant="custom", config=config, weights=_weights(config))
    assert isinstance(made, ContinuousTokenizer)
    report = validate(made)
    assert report.passed, report.lines()


def test_a_one_channel_network_sees_luma_and_answers_in_grey():
    config = DEEP | {"ddconfig": DEEP["ddconfig"] | {"in_channels": 1, "out_ch": 1}}
    made = build(variant="custom", config=config, weights=_weights(config))
    assert made.info.colour == "luma"
    assert validate(made).passed


@pytest.mark.parametrize(
    ("ch_mult", "blocks", "attention", "codes"),
    [([1, 2, 1, 1], 2, [4], 64), ([2], 1, [32], 7), ([1, 1, 1, 1, 1], 1, [], 1000)],
)
def test_any_depth_codebook_and_attention_runs(ch_mult, blocks, attention, codes):
    ddconfig = SMALL["ddconfig"] | {"ch_mult": ch_mult, "num_res_blocks": blocks}
    config = SMALL | {"n_embed": codes, "ddconfig": ddconfig | {"attn_resolutions": attention}}
    made = build(variant="custom", config=config, weights=_weights(config))
    f = 2 ** (len(ch_mult) - 1)
    images = _images(2, 2 * f)
    encoding = made.encode(images)
    assert encoding.indices.shape == (2, 1, 4)
    assert int(encoding.indices.max()) < codes
    assert made.decode(encoding).shape == images.shape
    assert (made.info.downsample, made.info.positions) == (f, (256 // f) ** 2)


def test_a_gumbel_checkpoint_is_recognised_by_its_projection():
    plain = {k: v for k, v in GUMBEL.items() if k in SMALL}
    made = build(variant="custom", config=plain, weights=_weights(GUMBEL))
    assert made.model.config.gumbel


def test_a_trainers_file_is_read_without_its_losses_and_averages(tokenizer, tmp_path):
    state = _weights(SMALL)
    state |= {"loss.discriminator.main.0.weight": torch.zeros(2, 2), "loss.logvar": torch.zeros(())}
    state |= {"model_ema.encoderconv_inweight": torch.zeros(3), "model_ema.decay": torch.ones(())}
    path = tmp_path / "model.ckpt"
    torch.save({"epoch": 3, "global_step": 9, "state_dict": state}, path)
    made = build(variant="mine", config=SMALL, weights=path)
    assert made.info.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    images = _images(1, 32)
    assert torch.equal(made.encode(images).indices, tokenizer.encode(images).indices)


def test_half_precision_files_are_run_in_float32(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({key: value.bfloat16() for key, value in _weights(SMALL).items()}, path)
    made = build(variant="mine", config=SMALL, weights=path)
    assert made.continuous(_images(1, 32)).dtype == torch.float32


@pytest.mark.parametrize("variant", ["official", "imagenet-f16"])
def test_without_weights_the_message_says_where_they_are(variant):
    with pytest.raises(MissingPrerequisite) as caught:
        build(variant=variant)
    assert caught.value.exit_code == ExitCode.MISSING_PREREQUISITE
    message = str(caught.value)
    assert "--weights PATH" in message
    home = "taming-transformers#overview" if variant == "imagenet-f16" else "vq-f8.zip"
    assert home in message


def test_a_checkpoint_of_no_published_outline_asks_for_its_configuration():
    with pytest.raises(UsageError, match=r"2 levels, 3 image channels and 3 latent.*--config"):
        build(variant="mine", weights=_weights(SMALL))
    with pytest.raises(UsageError, match=r"no encoder.down.*--config"):
        build(variant="mine", weights={"weight": torch.zeros(2, 2)})


def test_own_weights_of_a_published_outline_take_its_configuration():
    with pytest.raises(UsageError) as caught:
        build(
            variant="mine",
            weights={
                "encoder.conv_in.weight": torch.zeros(128, 3, 3, 3),
                "post_quant_conv.weight": torch.zeros(256, 256, 1, 1),
                "encoder.down.4.block.0.norm1.weight": torch.zeros(256),
            },
        )
    assert "3 of 343 tensors match" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantize.embedding.weight": torch.zeros(60, 3)}, r"\(60, 3\) instead of \(50, 3\)"),
        ({"quantize.embedding.weight": torch.full((50, 3), torch.nan)}, "not finite"),
        ({"head.weight": torch.zeros(2, 2)}, "unknown to this network: head.weight"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        build(variant="mine", config=SMALL, weights=_weights(SMALL) | change)


def test_a_truncated_checkpoint_is_refused_by_its_missing_keys():
    state = _weights(SMALL)
    del state["decoder.conv_out.weight"]
    with pytest.raises(UsageError, match=r"missing: decoder.conv_out.weight"):
        build(variant="mine", config=SMALL, weights=state)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (Encoding(), "indices or latents, got neither"),
        (Encoding(indices=torch.zeros(1, 1, 16)), "must be int64"),
        (Encoding(indices=torch.zeros(1, 2, 16, dtype=torch.int64)), r"\(B, 1, L\)"),
        (Encoding(indices=torch.zeros(1, 1, 15, dtype=torch.int64)), "square grid"),
        (Encoding(indices=torch.zeros(1, 1, 0, dtype=torch.int64)), "square grid"),
        (Encoding(indices=torch.full((1, 1, 16), 50)), "0 to 49, got 50"),
        (Encoding(indices=torch.full((1, 1, 16), -1)), "0 to 49, got -1"),
        (Encoding(latents=torch.zeros(1, 4, 4, 4)), r"\(B, 3, h, h\)"),
        (Encoding(latents=torch.zeros(1, 3, 4, 5)), r"\(B, 3, h, h\)"),
        (Encoding(latents=torch.zeros(1, 3, 4, 4).double()), "float64"),
        (Encoding(latents=torch.full((1, 3, 4, 4), torch.inf)), "finite"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tokenizer, encoding, message):
    with pytest.raises(UsageError, match=message):
        tokenizer.decode(encoding)
