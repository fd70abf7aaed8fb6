from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file

import medbench
from medbench.baselines.emu3 import build
from medbench.baselines.emu3_config import OFFICIAL_CONFIG, Emu3Config
from medbench.baselines.emu3_model import Emu3Model, SpatialNorm
from medbench.baselines.emu3_pumit_catalogue import EMU3_ENTRY
from medbench.baselines.taming_blocks import Encoder
from medbench.harness.conformance import validate
from medbench.harness.errors import ExitCode, MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SMALL = {
    "codebook_size": 50,
    "embed_dim": 3,
    "z_channels": 3,
    "temporal_downsample_factor": 2,
    "ch": 32,
    "ch_mult": [1, 2, 3],
    "num_res_blocks": 1,
    "attn_resolutions": [2],
}
DEEP = SMALL | {
    "ch_mult": [1, 1, 1, 1, 1],
    "attn_resolutions": [4],
    "temporal_downsample_factor": 8,
}
"""Where attention has few positions at 256 pixels."""


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def _weights(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = Emu3Model(Emu3Config.from_mapping(config)).state_dict()
        for key, value in state.items():
            if key.endswith(("running_mean", "running_var", "conv_y.bias")):
                value.uniform_(0.5, 1.5)
            elif key.startswith(("encoder.time_conv", "encoder.conv_out", "quant_conv")):
                value.mul_(5.0)  # so that an image has more than one code
    return state


@pytest.fixture(scope="module")
def tokenizer():
    return build(variant="custom", config=SMALL, weights=_weights(SMALL))


@torch.no_grad()
def test_every_stage_gives_upstreams_numbers(golden):
    example = golden("emu3vq")
    expected = example.outputs
    ours = medbench.load_tokenizer(
        "medbench.baselines.emu3:build", config=example.config, weights=example.weights
    )
    images = (expected["x"] + 1) / 2
    encoding = ours.encode(images)
    assert torch.equal(encoding.indices, expected["indices"].flatten(1).unsqueeze(1))
    torch.testing.assert_close(encoding.latents, expected["z_q"].squeeze(1), **CLOSE)
    z = ours.continuous(images).transpose(1, 2).reshape(2, 4, 8, 8)
    torch.testing.assert_close(z, expected["z"].squeeze(1), rtol=1e-4, atol=1e-4)
    codes = ours.features(images).transpose(1, 2).reshape(2, 4, 8, 8)
    torch.testing.assert_close(codes, expected["z_q"].squeeze(1), **CLOSE)
    torch.testing.assert_close(ours.decode(encoding) * 2 - 1, expected["rec"], **CLOSE)
    of_the_encoder = ours.model.encoder(expected["x"]).transpose(1, 2)
    torch.testing.assert_close(of_the_encoder, expected["z_encoder"], rtol=1e-4, atol=1e-4)
    clip = ours.model.decode_latent(encoding.latents, frames=4)
    torch.testing.assert_close(clip, expected["rec_all_frames"], **CLOSE)
    assert ours.info.bits_per_image == 32 * 32 * 8


_RENAMED = (
    (r"^encoder\.down\.", "encoder.down_block.down."),
    (r"^decoder\.up\.", "decoder.up_block.up."),
    (r"\.mid\.attn_1\.norm\.", ".middle_block.attn_norm."),
    (r"\.mid\.", ".middle_block."),
    (r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1."),
    (r"\.(attn_1|attn\.\d+)\.([qkv])\.", r".\1.\2_proj."),
    (r"\.proj_out\.", ".out_proj."),
)


def _as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in _RENAMED:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value[..., 0, 0] if "_proj.weight" in key else value
    return renamed


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"num_res_blocks": 2, "temporal_downsample_factor": 8}])
def test_other_sizes_give_the_numbers_of_transformers(changes):
    from transformers.models.emu3 import Emu3VQVAE, Emu3VQVAEConfig

    config = SMALL | changes
    state = _weights(config)
    theirs = Emu3VQVAE(
        Emu3VQVAEConfig(
            codebook_size=50,
            embed_dim=3,
            latent_channels=3,
            double_latent=False,
            temporal_downsample_factor=config["temporal_downsample_factor"],
            base_channels=32,
            channel_multiplier=[1, 2, 3],
            num_res_blocks=config["num_res_blocks"],
            attn_resolutions=[2],
            hidden_size=96,
            num_attention_heads=1,
        )
    ).eval()
    theirs.load_state_dict(_as_transformers(state))
    images = _images(2, 32)
    ours = build(variant="custom", config=config, weights=state)
    encoding = ours.encode(images)
    tokens = theirs.encode(images * 2 - 1, image_sizes=torch.tensor([[32, 32]] * 2)).image_tokens
    assert encoding.indices.unique().numel() > 1
    assert torch.equal(encoding.indices.reshape(2, 8, 8), torch.stack(list(tokens)))
    rec = theirs.decode(encoding.indices.reshape(2, 8, 8))
    torch.testing.assert_close(ours.decode(encoding) * 2 - 1, rec, **CLOSE)


@torch.no_grad()
def test_an_image_passed_once_equals_a_clip_passed_frame_by_frame(tokenizer):
    encoder = tokenizer.model.encoder
    x = _images(2, 16) * 2 - 1
    frames = Encoder.forward(encoder, torch.cat([x, x])).unflatten(0, (2, 2))
    clip = encoder.time_res_stack(encoder.time_conv(frames.movedim(0, 2)))
    torch.testing.assert_close(encoder(x), clip)


@torch.no_grad()
def test_the_spatial_norm_conditions_on_the_enlarged_map():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm = SpatialNorm(32, Emu3Config.from_mapping(SMALL).trunk)
        x, condition = torch.randn(2, 32, 8, 8), torch.randn(2, 3, 4, 4)
    large = condition.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = norm.norm_layer(x) * norm.conv_y(large) + norm.conv_b(large)
    torch.testing.assert_close(norm(x, condition), expected)


def test_keys_shapes_and_parameters_are_those_of_the_published_file(layout):
    with torch.device("meta"):
        model = Emu3Model(Emu3Config.from_mapping(OFFICIAL_CONFIG))
    found = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert found == layout("emu3_visiontokenizer")
    assert len(found) == 495
    assert sum(parameter.numel() for parameter in model.parameters()) == 270_740_287


def test_it_keeps_the_protocol():
    ours = build(variant="custom", config=DEEP, weights=_weights(DEEP))
    assert isinstance(ours, ContinuousTokenizer)
    report = validate(ours)
    assert report.passed, report.lines()


def test_omitted_terms_are_the_published_ones_and_hub_terms_are_ignored():
    published = Emu3Config.from_mapping(OFFICIAL_CONFIG)
    assert Emu3Config.from_mapping({"model_type": "Emu3VisionVQ"}) == published
    assert (published.halvings, published.trunk.downsample) == (2, 8)
    assert EMU3_ENTRY.variants["official"].bits_per_image == 32 * 32 * 15
    assert EMU3_ENTRY.aliases == ("emu3vq",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebook": 5}, "did you mean codebook_size"),
        ({"codebook_size": 1}, "at least 2"),
        ({"double_z": True}, "double_z must be false"),
        ({"embed_dim": 4}, "the same number"),
        ({"in_channels": 1}, "must both be 3"),
        ({"temporal_downsample_factor": 0}, "temporal_downsample_factor must be an integer"),
        ({"attn_resolutions": 3}, "attn_resolutions must be a list"),
        ({"ch_mult": [1, -2]}, "ch_mult"),
        ({"ch": 40}, "multiple of 32"),
        ({"num_res_blocks": 1.5}, "num_res_blocks must be an integer"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Emu3Config.from_mapping(SMALL | changes)


def test_missing_published_weights_name_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingPrerequisite) as caught:
        build(variant="official")
    assert caught.value.exit_code == ExitCode.MISSING_PREREQUISITE
    for part in ("medbench weights fetch emu3-vq@official", "1.08 GB", "Apache-2.0"):
        assert part in str(caught.value)


def test_a_configuration_without_weights_is_refused():
    with pytest.raises(UsageError, match="random ones measure nothing"):
        build(variant="mine", config=SMALL)


def test_a_checkpoint_of_another_model_or_size_is_refused(golden):
    with pytest.raises(UsageError, match="It is a checkpoint of another model"):
        build(variant="mine", config=SMALL, weights=golden("pumit").weights)
    with pytest.raises(UsageError, match=r"of another shape or kind.*--config"):
        build(variant="mine", weights=golden("emu3vq").weights)
    lacking = {k: v for k, v in _weights(SMALL).items() if k != "quant_conv.conv.bias"}
    with pytest.raises(UsageError, match="missing: quant_conv.conv.bias"):
        build(variant="mine", config=SMALL, weights=lacking)


def test_half_precision_files_are_run_in_float32(tmp_path):
    path = tmp_path / "half.safetensors"
    half = {k: v.half() if v.is_floating_point() else v for k, v in _weights(SMALL).items()}
    save_file(half, path)
    found = build(variant="mine", config=SMALL, weights=path)
    assert {t.dtype for t in found.model.parameters()} == {torch.float32}
    assert found.info.weights_sha256 is not None


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (Encoding(), "indices or latents, got neither"),
        (Encoding(indices=torch.zeros(1, 1, 16)), "must be int64"),
        (Encoding(indices=torch.zeros(1, 2, 16, dtype=torch.int64)), r"\(B, 1, L\)"),
        (Encoding(indices=torch.zeros(1, 1, 15, dtype=torch.int64)), "square grid"),
        (Encoding(indices=torch.full((1, 1, 16), 50)), "0 to 49, got 50"),
        (Encoding(latents=torch.zeros(1, 4, 4, 4)), r"\(B, 3, h, h\)"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tokenizer, encoding, message):
    with pytest.raises(UsageError, match=message):
        tokenizer.decode(encoding)


def test_other_sides_are_refused_naming_seen_and_accepted(tokenizer):
    with pytest.raises(UsageError, match="multiple of 4, got 30"):
        tokenizer.encode(_images(1, 30))
