from __future__ import annotations

import subprocess
import sys

import pytest

from medbench.harness.errors import UsageError
from medbench.tokenizers.catalogue import ENTRIES, OFFICIAL_CONFIG, TINY_CONFIG
from medbench.tokenizers.meditok_config import VITAMIN_LARGE, MedITokConfig


def test_the_published_configuration_gives_24576_bits():
    config = MedITokConfig.from_mapping(OFFICIAL_CONFIG)
    assert config == MedITokConfig()
    assert config.sizes == VITAMIN_LARGE
    assert (config.positions, config.codebook_size, config.code_width) == (256, 4096, 8)
    assert config.bits_per_image == 24576


def test_the_tiny_variant_keeps_the_published_codebooks():
    tiny, official = map(MedITokConfig.from_mapping, (TINY_CONFIG, OFFICIAL_CONFIG))
    for name in ("vocab_size", "vocab_width", "num_codebooks", "img_size", "quant_proj"):
        assert getattr(tiny, name) == getattr(official, name)
    assert {v.bits_per_image for v in ENTRIES[0].variants.values()} == {24576}


def test_terms_without_effect_on_the_numbers_are_accepted():
    extra = {"device": "cpu", "grad_ckpt": True, "vocab_norm": True, "num_query": 0}
    text = {"text_width": 32, "text_heads": 2, "text_layers": 1}
    assert MedITokConfig.from_mapping(OFFICIAL_CONFIG | extra | text) == MedITokConfig()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_sise": 4}, r"'vocab_sise' \(did you mean vocab_size"),
        ({"qqq": 4}, "unknown configuration terms: 'qqq'; known: "),
        ({"num_query": 4}, "num_query must be 0"),
        ({"vocab_norm": False}, "unit sphere"),
        ({"vocab_size": 1001}, "vocab_size must be a multiple of 8, not 1001"),
        ({"vocab_width": 4}, "vocab_width must be a multiple of 8, not 4"),
        ({"num_codebooks": 0}, "num_codebooks must be an integer of at least 1, not 0"),
        ({"vocab_size": "many"}, "vocab_size must be an integer"),
        ({"vq_beta": "much"}, "vq_beta must be a number"),
        ({"le": -1.0}, "le must be a number that is not negative"),
        ({"e_temp": 0.0}, "e_temp must be above 0"),
        ({"drop_path": 1.0}, "drop_path below 1"),
        ({"drop_alignment": 1}, "drop_alignment must be true or false"),
        ({"img_size": 250}, "img_size must be a multiple of 16, not 250"),
        ({"quant_proj": "conv"}, "'attn' or 'linear', not 'conv'"),
        ({"vocab_width": 48}, "multiple of vocab_width"),
        ({"model": "vitamin_huge", "variant": None}, "no sizes are known .* 'vitamin_huge'"),
        ({"variant": {"stem": 3}}, "did you mean stem_width"),
        ({"variant": {"stem_width": 3}}, "incomplete"),
        ({"variant": 3}, "'variant' must hold the sizes by name, not 3"),
    ],
)
def test_impossible_terms_are_refused_by_name(change, message):
    with pytest.raises(UsageError, match=message):
        MedITokConfig.from_mapping(TINY_CONFIG | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "at least 1"),
        ({"depth": 1.5}, "at least 1"),
        ({"stage_dims": [16, 48]}, "stage_dims must be 3 integers"),
        ({"decoder_depths": 4}, "decoder_depths must be 2 integers"),
        ({"mlp_ratio": 0}, "mlp_ratio must be positive"),
        ({"embed_dim": 64}, "must be the same number"),
        ({"num_heads": 3}, "no multiple of num_heads 3"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change, message):
    sizes = TINY_CONFIG["variant"] | change
    with pytest.raises(UsageError, match=message):
        MedITokConfig.from_mapping(TINY_CONFIG | {"variant": sizes})


def test_the_catalogue_imports_no_torch():
    code = "import sys, medbench.tokenizers.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
