from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import medbench
from medbench.baselines.tokenflow import build
from medbench.baselines.tokenflow_catalogue import ENTRY, OFFICIAL_CONFIG
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.baselines.tokenflow_model import TokenFlowModel
from medbench.harness.conformance import validate
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding
from medbench.harness.registry import load_target

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
TARGET = "medbench.baselines.tokenflow:build"
SMALL = {
    "args": {
        "codebook_size": 100,
        "codebook_embed_dim": 4,
        "semantic_code_dim": 6,
        "z_channels": 8,
        "encoder_ch_mult": [1, 1, 1, 1, 2],
        "decoder_ch_mult": [1, 1, 1, 1, 1],
        "enhanced_decoder": True,
        "infer_interpolate": True,
    },
    "sizes": {
        "dim": 24,
        "heads": 2,
        "img": 48,
        "out": 5,
        "scales": [1, 3],
        "scales_interp": [1, 2, 4],
        "ch": 32,
        "nres": 1,
        "dec_ch": 32,
        "dec_nres": 1,
        "dec_depth": 1,
        "clip_layers": 1,
        "clip_heads": 3,
    },
}
PLAIN = {
    "args": SMALL["args"]
    | {"enhanced_decoder": False, "infer_interpolate": False, "codebook_show_usage": False},
    "sizes": SMALL["sizes"] | {"img": 80, "scales": [1, 2, 5], "nres": 2, "dec_ch": 64},
}


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def _weights(config: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = TokenFlowModel(TokenFlowConfig.from_mapping(config)).state_dict()
        for key, value in state.items():
            if key.endswith(("embedding", "pos_embed", "cls_token")):
                value.normal_()
            elif key.startswith(("quant_conv.weight", "encode_task_layer")):
                value.mul_(4.0)  # so that an image has more than one code
    return state


@pytest.fixture(scope="module")
def tokenizer():
    return build(variant="custom", config=SMALL, weights=_weights(SMALL))


@torch.no_grad()
def test_every_stage_gives_upstreams_numbers(golden):
    example = golden("tokenflow")
    expected, x = example.outputs, example.outputs["x"]
    ours = medbench.load_tokenizer(TARGET, config=example.config, weights=example.weights)
    images = (x + 1) / 2
    encoding = ours.encode(images)
    assert torch.equal(encoding.indices, expected["indices"].unsqueeze(1))
    torch.testing.assert_close(encoding.latents, expected["z_q"], **CLOSE)
    torch.testing.assert_close(ours.decode(encoding) * 2 - 1, expected["rec"], **CLOSE)
    alone = ours.decode(Encoding(indices=expected["indices"].unsqueeze(1)))
    torch.testing.assert_close(alone * 2 - 1, expected["rec_from_indices"], **CLOSE)
    torch.testing.assert_close(ours.continuous(images), expected["semantic_tokens"], **CLOSE)
    torch.testing.assert_close(ours.model.encode_latent(x), expected["z"], **CLOSE)
    semantics = ours.model.decode_semantics(encoding.latents)
    torch.testing.assert_close(semantics, expected["semantic_rec"], **CLOSE)
    semantics = ours.model.decode_semantics(ours.model.look_up(expected["indices"]))
    torch.testing.assert_close(semantics, expected["semantic_rec_from_indices"], **CLOSE)
    assert (ours.info.positions, ours.info.bits_per_image) == (1 + 4 + 16 + 25, 46 * 8)
    cells = ours.features(images).transpose(1, 2).reshape(2, 24, 5, 5)
    torch.testing.assert_close(cells, expected["z_q"], **CLOSE)


def test_the_published_network_has_its_keys_shapes_and_parameters(layout):
    with torch.device("meta"):
        model = TokenFlowModel(TokenFlowConfig.from_mapping(OFFICIAL_CONFIG))
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    published = layout("tokenflow_clipb_32k_enhanced")
    assert ours == published
    assert list(ours) == list(published)
    assert sum(parameter.numel() for parameter in model.parameters()) == 376_569_643
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 376_700_715


def test_the_published_configuration_has_817_positions_on_nine_scales():
    config = TokenFlowConfig.from_mapping(OFFICIAL_CONFIG)
    assert (config.side, config.grid, len(config.scales)) == (256, 16, 9)
    assert (config.positions, config.latent_dims) == (817, 40)
    assert config.bits_per_image == 817 * 15 == ENTRY.variants["official"].bits_per_image
    plain = TokenFlowConfig.from_mapping({"teacher": "clipb_224"})
    assert (plain.side, plain.positions, plain.codebook_size) == (224, 561, 16384)
    assert (plain.decoder_ch, plain.decoder_nres) == (128, 2)


@pytest.mark.parametrize("config", [SMALL, PLAIN], ids=["interpolated", "plain"])
def test_it_keeps_the_protocol(config):
    found = build(variant="custom", config=config, weights=_weights(config))
    assert isinstance(found, ContinuousTokenizer)
    report = validate(found)
    assert report.passed, "\n".join(report.lines())
    images = _images(4, found.info.resolution)
    encoding = found.encode(images)
    assert encoding.indices.unique().numel() > 10
    assert torch.equal(
        found.decode(Encoding(latents=encoding.latents)),
        found.decode(Encoding(indices=encoding.indices)),
    )


def test_flat_terms_are_the_same_network():
    flat = dict(SMALL["args"]) | {"sizes": SMALL["sizes"]}
    assert TokenFlowConfig.from_mapping(flat) == TokenFlowConfig.from_mapping(SMALL)


def test_other_terms_are_other_networks():
    states = [_weights(config) for config in (SMALL, PLAIN)]
    assert "quantize.codebook_used" in states[0]
    assert "quantize.codebook_used" not in states[1]
    widths = [len([k for k in s if re.match(r"decoder.*res.*conv1.weight", k)]) for s in states]
    assert widths == [5 * 2, 5 * 3]
    assert states[1]["decoder.conv_out.weight"].shape[1] == 32


@pytest.mark.parametrize("side", [32, 128, 65])
def test_sides_that_the_scales_do_not_fit_are_refused(tokenizer, side):
    with pytest.raises(UsageError, match=f"64.*got {side}"):
        tokenizer.encode(_images(1, side))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (Encoding(), "indices or latents, got neither"),
        (Encoding(indices=torch.zeros(1, 1, 21)), r"int64 \(B, 1, 21\), got torch.float32"),
        (Encoding(indices=torch.zeros(1, 1, 20, dtype=torch.int64)), r"got torch.int64 \(1, 1, 20"),
        (Encoding(indices=torch.zeros(0, 1, 21, dtype=torch.int64)), r"\(B, 1, 21\)"),
        (Encoding(indices=torch.zeros(1, 21, dtype=torch.int64)), r"\(B, 1, 21\)"),
        (Encoding(indices=torch.full((1, 1, 21), 100)), "0 to 99, got 100"),
        (Encoding(indices=torch.full((1, 1, 21), -1)), "0 to 99, got -1"),
        (Encoding(latents=torch.zeros(1, 10, 5, 5)), r"\(B, 10, 4, 4\)"),
        (Encoding(latents=torch.zeros(1, 10, 4, 4).double()), "float64"),
        (Encoding(latents=torch.full((1, 10, 4, 4), torch.nan)), "finite"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tokenizer, encoding, message):
    with pytest.raises(UsageError, match=message):
        tokenizer.decode(encoding)


@pytest.mark.parametrize("wrapper", ["ema", "model", "state_dict", None])
def test_checkpoint_files_are_read_through_their_wrapper(tokenizer, tmp_path, wrapper):
    weights = _weights(SMALL)
    path = tmp_path / "tokenflow.pt"
    torch.save({wrapper: weights, "steps": 7} if wrapper else weights, path)
    found = build(variant="mine", config=SMALL, weights=path)
    images = _images(1, 64)
    assert torch.equal(found.encode(images).indices, tokenizer.encode(images).indices)
    assert len(found.info.weights_sha256) == 64


def test_half_precision_files_are_run_in_float32(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in _weights(SMALL).items()}, path)
    found = build(variant="mine", config=SMALL, weights=path)
    assert {tensor.dtype for tensor in found.model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("quant_conv.bias"), "missing: quant_conv.bias"),
        (lambda state: state.update(extra=torch.ones(2)), "unknown to this network: extra"),
        (
            lambda state: state.update({"quant_conv.bias": torch.ones(3)}),
            "quant_conv.bias (3,) instead of (4,)",
        ),
        (lambda state: state["quant_conv.bias"].fill_(torch.inf), "not finite"),
    ],
    ids=["missing", "unknown", "shape", "infinite"],
)
def test_a_checkpoint_that_does_not_fit_is_refused(spoil, message):
    state = _weights(SMALL)
    spoil(state)
    with pytest.raises(UsageError, match=re.escape(message)):
        build(variant="mine", config=SMALL, weights=state)


def test_a_checkpoint_of_another_model_is_named_as_such(golden):
    with pytest.raises(UsageError, match="It is a checkpoint of another model"):
        build(variant="mine", config=SMALL, weights=golden("unitok").weights)


def test_missing_weights_are_an_error(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="random ones measure nothing"):
        build(variant="mine", config=SMALL)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingPrerequisite) as caught:
        build(variant="official")
    for part in ("medbench weights fetch tokenflow@official", "--weights", "1.51 GB", "mit"):
        assert part in str(caught.value)


def test_the_catalogue_resolves_and_imports_no_torch():
    assert load_target(ENTRY.target) is build
    code = "import sys, medbench.baselines.tokenflow_catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
