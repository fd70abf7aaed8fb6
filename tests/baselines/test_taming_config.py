from __future__ import annotations

import subprocess
import sys

import pytest

from medbench.baselines.taming_catalogue import (
    ENTRIES,
    MEDVAE_8_1_CONFIG,
    MEDVAE_8_4_CONFIG,
    VQGAN_F8_CONFIG,
    VQGAN_F16_CONFIG,
)
from medbench.baselines.taming_config import MedVAEConfig, TrunkSizes, VQGANConfig
from medbench.harness.errors import UsageError


def _changed(config: dict, **terms) -> dict:
    return config | {"ddconfig": config["ddconfig"] | terms}


def test_published_bit_rates():
    bits = {
        f"{entry.name}@{name}": variant.bits_per_image
        for entry in ENTRIES
        for name, variant in entry.variants.items()
        if name != "tiny"
    }
    assert bits == {
        "vqgan@official": 1024 * 14,
        "vqgan@imagenet-f16": 256 * 14,
        "medvae@official": 32 * 32 * 16,
        "medvae@4x-1c": 64 * 64 * 16,
        "medvae@8x-4c": 4 * 32 * 32 * 16,
        "medvae@4x-3c": 3 * 64 * 64 * 16,
        "medvae-rgb@official": 3 * 32 * 32 * 16,
        "medvae-rgb@4x-1c": 3 * 64 * 64 * 16,
    }


def test_the_tiny_networks_have_the_bit_rates_of_the_published_ones():
    for entry in ENTRIES:
        tiny, official = entry.variants["tiny"], entry.variants["official"]
        assert tiny.bits_per_image == official.bits_per_image


@pytest.mark.parametrize(("config", "level"), [(VQGAN_F8_CONFIG, 3), (VQGAN_F16_CONFIG, 4)])
def test_attention_stands_on_the_configured_resolutions_level(config, level):
    trunk = VQGANConfig.from_mapping(config).trunk
    assert trunk.encoder_attention == trunk.decoder_attention == {level}


def test_sides_that_cannot_be_halved_are_rounded_down_and_doubled_from_the_last_one():
    terms = VQGAN_F8_CONFIG["ddconfig"] | {"resolution": 50, "attn_resolutions": [25, 24, 12]}
    trunk = TrunkSizes.from_ddconfig(terms)
    assert trunk.encoder_attention == {1, 2}  # 50, 25, 12, 6
    assert trunk.decoder_attention == {1, 2}  # 48, 24, 12, 6
    terms["attn_resolutions"] = [25]
    trunk = TrunkSizes.from_ddconfig(terms)
    assert (trunk.encoder_attention, trunk.decoder_attention) == ({1}, set())


def test_training_terms_change_nothing():
    training = {"lossconfig": {"target": "x"}, "monitor": "val/rec_loss", "kl_weight": 1e-8}
    plain = VQGANConfig.from_mapping(VQGAN_F8_CONFIG)
    assert VQGANConfig.from_mapping(VQGAN_F8_CONFIG | training) == plain
    assert VQGANConfig.from_mapping(_changed(VQGAN_F8_CONFIG, resamp_with_conv=True)) == plain


def test_a_temperature_schedule_means_the_gumbel_model():
    config = _changed(VQGAN_F8_CONFIG | {"temperature_scheduler_config": {}})
    assert VQGANConfig.from_mapping(config).gumbel
    with pytest.raises(UsageError, match=r"embed_dim \(8\) equal to z_channels \(4\)"):
        VQGANConfig.from_mapping(config | {"embed_dim": 8})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"embed_dim": 4, "n_embed": 8}, "lacks ddconfig"),
        (VQGAN_F8_CONFIG | {"n_embeds": 8}, "did you mean n_embed"),
        (VQGAN_F8_CONFIG | {"n_embed": 0}, "n_embed must be an integer of at least 1, not 0"),
        (VQGAN_F8_CONFIG | {"n_embed": 1}, "n_embed must be at least 2"),
        (VQGAN_F8_CONFIG | {"embed_dim": "4"}, "embed_dim must be an integer"),
        (VQGAN_F8_CONFIG | {"remap": "codes.npy"}, "remap must be absent"),
        (VQGAN_F8_CONFIG | {"ddconfig": 3}, "'ddconfig' must hold the sizes"),
        (VQGAN_F8_CONFIG | {"ddconfig": {"ch": 32}}, "'ddconfig' lacks attn_resolutions, ch_mult"),
        (_changed(VQGAN_F8_CONFIG, chh=3), "'chh'"),
        (_changed(VQGAN_F8_CONFIG, double_z=True), "double_z must be false"),
        (_changed(VQGAN_F8_CONFIG, double_z=0), "double_z must be true or false, not 0"),
        (_changed(VQGAN_F8_CONFIG, ch=48), "multiple of 32.*got 48"),
        (_changed(VQGAN_F8_CONFIG, ch=-32), "ch must be an integer of at least 1"),
        (_changed(VQGAN_F8_CONFIG, ch_mult=[]), "ch_mult must be 1 to 9 integers"),
        (_changed(VQGAN_F8_CONFIG, ch_mult=[1] * 10), "ch_mult must be 1 to 9 integers"),
        (_changed(VQGAN_F8_CONFIG, ch_mult=[1, 1.5]), "ch_mult must be a list of integers"),
        (_changed(VQGAN_F8_CONFIG, attn_resolutions=16), "attn_resolutions must be a list"),
        (_changed(VQGAN_F8_CONFIG, resolution=0), "resolution must be an integer of at least 1"),
        (_changed(VQGAN_F8_CONFIG, in_channels=4, out_ch=4), "both be 3 .* 4 and 4"),
        (_changed(VQGAN_F8_CONFIG, out_ch=1), "both be 3 .* 3 and 1"),
        (_changed(VQGAN_F8_CONFIG, dropout=1), "dropout must be from 0 to below 1"),
        (_changed(VQGAN_F8_CONFIG, tanh_out=True), "tanh_out must be False"),
    ],
)
def test_impossible_vqgans_are_refused_by_name(config, message):
    with pytest.raises(UsageError, match=message):
        VQGANConfig.from_mapping(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_changed(MEDVAE_8_1_CONFIG, double_z=False), "double_z must be true"),
        (MEDVAE_8_4_CONFIG | {"lora_rank": 0}, "lora_rank must be an integer of at least 1"),
        (MEDVAE_8_1_CONFIG | {"apply_channel_ds": 1}, "apply_channel_ds must be true or false"),
        (MEDVAE_8_1_CONFIG | {"n_embed": 8}, "unknown configuration terms: 'n_embed'"),
    ],
)
def test_impossible_medvaes_are_refused_by_name(config, message):
    with pytest.raises(UsageError, match=message):
        MedVAEConfig.from_mapping(config)


def test_the_catalogue_imports_no_torch():
    code = "import sys, medbench.baselines.taming_catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
