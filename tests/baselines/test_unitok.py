from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

import medbench
from medbench.baselines.unitok import build
from medbench.baselines.unitok_catalogue import ENTRY, OFFICIAL_CONFIG
from medbench.harness.conformance import validate
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.protocol import Encoding
from medbench.harness.registry import load_target
from medbench.tokenizers.catalogue import TINY_CONFIG
from medbench.tokenizers.initialisation import build_from_scratch
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
TARGET = "medbench.baselines.unitok:build"
OTHER = TINY_CONFIG | {
    "vocab_size": 300,
    "vocab_width": 24,
    "num_codebooks": 3,
    "img_size": 64,
    "variant": {
        "stem_width": 8,
        "stage_dims": [12, 20, 48],
        "stage_depths": [2, 1],
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 1.5,
        "decoder_dims": [48, 20, 12],
        "decoder_depths": [1, 2],
    },
}


def _weights(config: dict) -> dict[str, torch.Tensor]:
    model = build_from_scratch(MedITokConfig.from_mapping(config), seed=0)
    for book in model.quantizer.books:
        torch.nn.init.normal_(book.codebook.weight, generator=torch.Generator().manual_seed(1))
    return model.state_dict()


@pytest.fixture(scope="module")
def published_form(golden, tmp_path_factory):
    """The golden weights in the file form of the hub."""
    path = tmp_path_factory.mktemp("unitok") / "unitok_tokenizer.pth"
    arguments = {"model": "vitamin_tiny_a", "dtype": torch.bfloat16}
    trainer = {"unitok": golden("unitok").weights, "epoch": 3}
    torch.save({"args": arguments, "trainer": trainer}, path)
    return path


@torch.no_grad()
def test_every_stage_gives_upstreams_numbers(golden):
    example = golden("unitok")
    expected, x = example.outputs, example.outputs["x"]
    ours = medbench.load_tokenizer(TARGET, config=example.config, weights=example.weights)
    images = (x + 1) / 2
    encoding = ours.encode(images)
    assert torch.equal(encoding.indices, expected["indices"])
    latents = expected["z_q"].transpose(1, 2).reshape(2, 16, 4, 4)
    torch.testing.assert_close(encoding.latents, latents, **CLOSE)
    for rec in (ours.decode(encoding), ours.decode(Encoding(indices=expected["indices"]))):
        torch.testing.assert_close(rec * 2 - 1, expected["rec"], **CLOSE)
        torch.testing.assert_close((rec * 2 - 1).clamp(-1, 1), expected["rec_clamped"], **CLOSE)
    torch.testing.assert_close(ours.features(images), expected["post_tokens"], **CLOSE)
    torch.testing.assert_close(ours.continuous(images), expected["encoder_tokens"], **CLOSE)
    torch.testing.assert_close(ours.model.encode_latent(x), expected["z"], **CLOSE)
    output = ours.model(x)
    torch.testing.assert_close(output.quantised.vq_loss, expected["vq_loss"][0], **CLOSE)
    torch.testing.assert_close(output.rec.clamp(-1, 1), expected["rec_direct"], **CLOSE)
    embedding = ours.model.image_embedding(output.post_tokens)
    torch.testing.assert_close(embedding, expected["clip_image_feature"], **CLOSE)


def test_the_hubs_file_form_is_read_caption_encoder_left_out(golden, published_form):
    example = golden("unitok")
    assert any(key.startswith("text_encoder.") for key in example.weights)
    ours = build(variant="mine", config=example.config, weights=published_form)
    found = ours.encode((example.outputs["x"] + 1) / 2).indices
    assert torch.equal(found, example.outputs["indices"])
    assert len(ours.info.weights_sha256) == 64
    assert not any(key.startswith("text_encoder.") for key in ours.model.state_dict())


def test_the_causal_term_gives_the_first_releases_network(golden):
    example = golden("meditok")  # masked, as UniTok's first release
    expected = example.outputs
    images = (expected["x"] + 1) / 2
    causal = build(
        variant="mine", config=example.config | {"causal": True}, weights=example.weights
    )
    assert torch.equal(causal.encode(images).indices, expected["indices"])
    assert causal.info.source.endswith("causal attention")
    full = build(variant="mine", config=example.config, weights=example.weights)
    assert full.info.source.endswith("full attention")
    assert not torch.equal(full.encode(images).indices, expected["indices"])


def test_the_variants_declare_their_masks():
    assert ENTRY.default_variant == "official"
    declared = {name: variant.config for name, variant in ENTRY.variants.items()}
    assert "causal" not in declared["official"]
    assert declared["official-causal"] == declared["official"] | {"causal": True}
    assert {variant.bits_per_image for variant in ENTRY.variants.values()} == {24576}


def test_keys_and_shapes_are_those_of_the_published_file(layout):
    published = layout("unitok_tokenizer")
    image_side = {k: s for k, s in published.items() if not k.startswith("text_encoder.")}
    assert len(published) == 1335
    with torch.device("meta"):
        model = MedITokModel(MedITokConfig.from_mapping(OFFICIAL_CONFIG), causal=False)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == image_side


@pytest.mark.parametrize("config", [TINY_CONFIG, OTHER], ids=["tiny", "other"])
def test_it_keeps_the_protocol(config):
    report = validate(build(variant="custom", config=config, weights=_weights(config)))
    assert report.passed, "\n".join(report.lines())


def test_a_start_without_weights_is_refused():
    with pytest.raises(UsageError, match="random ones measure nothing"):
        build(variant="mine", config=TINY_CONFIG)


def test_missing_published_weights_name_command_size_and_licence(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingPrerequisite) as caught:
        build(variant="official")
    for part in ("medbench weights fetch unitok@official", "--weights", "3.31 GB", "apache-2.0"):
        assert part in str(caught.value)
    with pytest.raises(MissingPrerequisite, match="before 2025-04-02.*--weights PATH"):
        build(variant="official-causal")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("projection.weight"), "missing: projection.weight"),
        (lambda state: state.update(extra=torch.ones(2)), "unknown to this network: extra"),
        (
            lambda state: state.update({"projection.bias": torch.ones(3)}),
            "projection.bias (3,) instead of (24,)",
        ),
        (lambda state: state["logit_scale"].fill_(torch.nan), "not finite"),
    ],
    ids=["missing", "unknown", "shape", "nan"],
)
def test_a_checkpoint_that_does_not_fit_is_refused(golden, spoil, message):
    example = golden("unitok")
    state = {key: value.clone() for key, value in example.weights.items()}
    spoil(state)
    with pytest.raises(UsageError, match=re.escape(message)):
        build(variant="mine", config=example.config, weights=state)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_causal_term_is_true_or_false(golden, value):
    example = golden("unitok")
    with pytest.raises(UsageError, match="causal must be true or false"):
        build(variant="mine", config=example.config | {"causal": value}, weights=example.weights)


def test_the_catalogue_resolves_and_imports_no_torch():
    assert load_target(ENTRY.target) is build
    code = "import sys, medbench.baselines.unitok_catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
