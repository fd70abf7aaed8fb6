from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save_file

import medbench
from medbench.baselines.emu3_pumit_catalogue import PUMIT_ENTRY, PUMIT_HARD_ENTRY
from medbench.baselines.pumit import build, build_hard
from medbench.baselines.pumit_config import OFFICIAL_CONFIG, PUMITConfig
from medbench.baselines.pumit_model import PUMITModel, collapsed
from medbench.harness.conformance import validate
from medbench.harness.errors import ExitCode, MissingPrerequisite, UsageError
from medbench.harness.protocol import ContinuousTokenizer, Encoding

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SMALL = {
    "quantize": {"num_embeddings": 30, "embedding_dim": 24},
    "in_channels": 3,
    "start_stride": 2,
    "downsample_layer_channels": [6, 10, 12, 16],
    "upsample_layer_channels": [8, 24],
}
"""Four layers in, two layers out, and widths that all differ."""


def _images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def _volume(config: dict) -> PUMITModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PUMITModel(PUMITConfig.from_mapping(config), dimensions=3)


@pytest.fixture(scope="module")
def weights():
    return _volume(SMALL).state_dict()


@torch.no_grad()
@pytest.mark.parametrize("ending", ["", "_hard"])
def test_every_stage_gives_upstreams_numbers(golden, ending):
    example = golden("pumit")
    expected = {k: v.squeeze(2) if v.ndim == 5 else v for k, v in example.outputs.items()}
    expected["logits"], expected["probs"], expected["indices"] = (
        example.outputs[key].squeeze(1) for key in ("logits", "probs", "indices")
    )
    ours = medbench.load_tokenizer(
        f"medbench.baselines.pumit:build{ending}", config=example.config, weights=example.weights
    )
    images = (expected["x"] + 1) / 2
    encoding = ours.encode(images)
    torch.testing.assert_close(encoding.latents, expected["z_q" + ending], **CLOSE)
    torch.testing.assert_close(ours.decode(encoding) * 2 - 1, expected["rec" + ending], **CLOSE)
    features = ours.features(images).transpose(1, 2).reshape(2, 32, 4, 4)
    torch.testing.assert_close(features, expected["z_q" + ending], **CLOSE)
    z = ours.continuous(images).transpose(1, 2).reshape(2, 32, 4, 4)
    torch.testing.assert_close(z, expected["z"], **CLOSE)
    logits = ours.model.quantize.logits(z)
    torch.testing.assert_close(logits, expected["logits"], **CLOSE)
    torch.testing.assert_close(logits.softmax(dim=-1), expected["probs"], **CLOSE)
    if ending:
        assert torch.equal(encoding.indices, expected["indices"].flatten(1).unsqueeze(1))
        again = ours.decode(Encoding(indices=encoding.indices))
        assert torch.equal(again, ours.decode(encoding))


def test_the_soft_and_the_hard_one_say_which_they_are(golden):
    example = golden("pumit")
    soft = build(variant="mine", config=example.config, weights=example.weights)
    hard = build_hard(variant="mine", config=example.config, weights=example.weights)
    assert (soft.info.kind, soft.info.codebooks) == ("continuous", 0)
    assert soft.encode(_images(1, 16)).indices is None
    assert soft.info.bits_per_image == 32 * 256 * 16
    assert (hard.info.kind, hard.info.codebook_size) == ("discrete", 96)
    assert soft.info.parameters == hard.info.parameters == 164_635


def test_keys_shapes_and_parameters_are_those_of_the_published_file(layout):
    with torch.device("meta"):
        volume = PUMITModel(PUMITConfig.from_mapping(OFFICIAL_CONFIG), dimensions=3)
    found = {key: tuple(value.shape) for key, value in volume.state_dict().items()}
    assert found == layout("pumit_tokenizer_simple_soft")
    assert sum(parameter.numel() for parameter in volume.parameters()) == 34_253_955


@torch.no_grad()
def test_collapsed_kernels_see_an_image_as_a_deep_stack_of_equal_slices():
    volume = _volume(SMALL)
    flat = PUMITModel(volume.config)
    flat.load_state_dict(collapsed(volume))
    x = _images(2, 32)
    strided = slice(0, 3 * 4)  # normalisation over a volume would see the padding in depth
    deep = volume.encoder[strided](x.unsqueeze(2).expand(-1, -1, 16, -1, -1))
    torch.testing.assert_close(flat.encoder[strided](x), deep.squeeze(2), **CLOSE)
    z = _images(1, 8).repeat(1, 8, 1, 1)
    three = copy.deepcopy(volume.encoder[12]).requires_grad_(False)  # a 3×3×3 convolution
    three.padding = (0, 1, 1)
    slices = three(z[:, :16].unsqueeze(2).expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(flat.encoder[12](z[:, :16]), slices.squeeze(2), **CLOSE)


@pytest.mark.parametrize("factory", [build, build_hard], ids=["soft", "hard"])
def test_it_keeps_the_protocol_at_other_widths_and_depths(factory, weights):
    ours = factory(variant="custom", config=SMALL, weights=weights)
    assert isinstance(ours, ContinuousTokenizer)
    assert ours.info.downsample == 16
    report = validate(ours)
    assert report.passed, report.lines()


def test_the_catalogue_declares_the_bits_of_mixture_and_code():
    assert PUMIT_ENTRY.variants["official"].bits_per_image == 512 * 256 * 16
    assert PUMIT_HARD_ENTRY.variants["official"].bits_per_image == 256 * 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 2}, "did you mean start_stride"),
        ({"start_stride": 3}, "must be 2, 4, 8"),
        ({"in_channels": 1}, "in_channels must be 3"),
        ({"quantize": {"num_embeddings": 30}}, "'quantize' lacks embedding_dim"),
        ({"quantize": SMALL["quantize"] | {"mode": "gumbel"}}, "mode must be 'soft'"),
        ({"quantize": SMALL["quantize"] | {"embedding_dim": 16}}, r"embedding_dim \(16\)"),
        ({"downsample_layer_channels": [16, 12]}, "multiples of 8"),
        ({"downsample_layer_channels": []}, "must be a list of widths"),
        ({"upsample_layer_channels": [8, 0.5]}, "upsample_layer_channels must be an integer"),
        ({"upsample_layer_channels": [8, 8, 8, 8, 8, 24]}, "more often than"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        PUMITConfig.from_mapping(SMALL | changes)


def test_an_incomplete_configuration_names_what_it_lacks():
    with pytest.raises(UsageError, match="lacks downsample_layer_channels, in_channels"):
        PUMITConfig.from_mapping({})


@pytest.mark.parametrize(("factory", "name"), [(build, "pumit"), (build_hard, "pumit-hard")])
def test_without_weights_it_says_where_the_published_ones_are(factory, name):
    with pytest.raises(MissingPrerequisite) as caught:
        factory(variant="official")
    assert caught.value.exit_code == ExitCode.MISSING_PREREQUISITE
    for part in (f"{name}@official", "github.com/function2-llx/PUMIT", "--weights PATH"):
        assert part in str(caught.value)


def test_a_checkpoint_of_another_model_or_size_is_refused(golden, weights):
    with pytest.raises(UsageError, match="It is a checkpoint of another model"):
        build(variant="mine", config=SMALL, weights=golden("emu3vq").weights)
    with pytest.raises(UsageError, match=r"of another shape or kind.*--config"):
        build(variant="mine", weights=golden("pumit").weights)
    flat = collapsed(_volume(SMALL))
    with pytest.raises(
        UsageError, match=r"encoder.0.weight \(6, 3, 2, 2\) instead of \(6, 3, 2, 2, 2\)"
    ):
        build(variant="mine", config=SMALL, weights=flat)
    extra = {**weights, "head.weight": torch.zeros(2)}
    with pytest.raises(UsageError, match="unknown to this network: head.weight"):
        build(variant="mine", config=SMALL, weights=extra)


def test_a_wrapped_half_precision_file_is_run_in_float32(weights, tmp_path):
    wrapped = tmp_path / "simple-soft.ckpt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, wrapped)
    half = tmp_path / "half.safetensors"
    save_file({k: v.half() for k, v in weights.items()}, half)
    images = _images(1, 16)
    expected = build(variant="mine", config=SMALL, weights=weights).encode(images).latents
    found = build(variant="mine", config=SMALL, weights=wrapped)
    assert torch.equal(found.encode(images).latents, expected)
    assert found.info.weights_sha256 is not None
    rounded = build(variant="mine", config=SMALL, weights=half).encode(images).latents
    torch.testing.assert_close(rounded, expected, rtol=0.05, atol=0.05)
    assert rounded.dtype == torch.float32


def test_what_cannot_be_decoded_is_refused(weights):
    soft = build(variant="mine", config=SMALL, weights=weights)
    hard = build_hard(variant="mine", config=SMALL, weights=weights)
    indices = torch.zeros(1, 1, 4, dtype=torch.int64)
    with pytest.raises(UsageError, match="decode needs latents"):
        soft.decode(Encoding(indices=indices))
    with pytest.raises(UsageError, match=r"\(B, 24, h, h\)"):
        soft.decode(Encoding(latents=torch.zeros(1, 23, 2, 2)))
    with pytest.raises(UsageError, match="0 to 29, got 30"):
        hard.decode(Encoding(indices=indices + 30))
    with pytest.raises(UsageError, match="indices or latents, got neither"):
        hard.decode(Encoding())
    with pytest.raises(UsageError, match="multiple of 16, got 40"):
        hard.encode(_images(1, 40))
