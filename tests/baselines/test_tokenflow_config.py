from __future__ import annotations

import pytest

from medbench.baselines.tokenflow_catalogue import OFFICIAL_CONFIG
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.harness.errors import UsageError


def _read(args: dict, sizes: dict) -> TokenFlowConfig:
    return TokenFlowConfig.from_mapping({"args": OFFICIAL_CONFIG["args"] | args, "sizes": sizes})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"codebook_sise": 4}, r"'codebook_sise' \(did you mean codebook_size"),
        ({"codebook_size": 0}, "codebook_size must be made of integers of at least 1"),
        ({"z_channels": True}, "z_channels must be made of integers"),
        ({"teacher": "siglip_384"}, "teacher must be 'clipb_224'.*not 'siglip_384'"),
        ({"kmeans": True}, "kmeans must be False"),
        ({"codebook_l2_norm": False}, "codebook_l2_norm must be True"),
        ({"enhanced_decoder": 1}, "enhanced_decoder must be true or false, not 1"),
        ({"infer_interpolate": None}, "infer_interpolate must be true or false"),
        ({"commit_loss_beta": -1.0}, "commit_loss_beta must be a number that is not negative"),
        ({"encoder_ch_mult": [1, 2]}, "encoder_ch_mult must have 5 levels"),
        ({"decoder_ch_mult": 4}, "decoder_ch_mult must be made of integers"),
        ({"sizes": {}}, "unknown configuration terms: 'sizes'"),
    ],
)
def test_impossible_terms_are_refused_by_name(args, message):
    with pytest.raises(UsageError, match=message):
        _read(args, {})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 4}, "unknown configuration terms: 'width'"),
        ({"dim": 0}, "dim must be made of integers of at least 1"),
        ({"heads": 5}, "dim 768 is no multiple of heads 5"),
        ({"clip_heads": 7}, "dim 768 is no multiple of clip_heads 7"),
        ({"img": 250}, "img must be a multiple of 16, not 250"),
        ({"scales_interp": []}, "scales_interp must be made of integers"),
        ({"scales_interp": [1, 4, 2]}, "must end with the largest scale"),
        ({"dec_ch": 20}, r"decoder_ch_mult \[1, 1, 2, 2, 4\] times 20 must be multiples of 32"),
    ],
)
def test_impossible_sizes_are_refused_by_name(sizes, message):
    with pytest.raises(UsageError, match=message):
        _read({}, sizes)


def test_without_interpolation_scales_and_position_table_must_agree():
    with pytest.raises(UsageError, match=r"last scale \(14\).*\(256 / 16 = 16\)"):
        _read({"infer_interpolate": False}, {"img": 256})


def test_what_is_no_mapping_is_refused():
    with pytest.raises(UsageError, match="'args' must hold"):
        TokenFlowConfig.from_mapping({"args": 3})
    with pytest.raises(UsageError, match="'sizes' must hold"):
        _read({}, 3)
