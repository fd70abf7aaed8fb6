"""TokenFlow as the registry lists it, without importing any of its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, TokenizerEntry, Variant
from ..harness.packaged import packaged_weights, tiny_variants
from .tokenflow_config import TokenFlowConfig

OFFICIAL_CONFIG: dict[str, Any] = {
    "args": {
        "codebook_size": 32768,
        "codebook_embed_dim": 8,
        "semantic_code_dim": 32,
        "teacher": "clipb_224",
        "enhanced_decoder": True,
        "infer_interpolate": True,
        "z_channels": 256,
        "encoder_ch_mult": [1, 1, 2, 2, 4],
        "decoder_ch_mult": [1, 1, 2, 2, 4],
    }
}
"""The published CLIP-B network, run at 256 pixels as its authors reconstruct."""

TOKENFLOW_TINY_CONFIG: dict[str, Any] = {
    "args": OFFICIAL_CONFIG["args"]
    | {
        "codebook_size": 8192,
        "enhanced_decoder": False,
        "codebook_show_usage": False,
        "z_channels": 64,
        "encoder_ch_mult": [1, 1, 2, 4, 4],
        "decoder_ch_mult": [1, 1, 2, 4, 4],
    },
    "sizes": {
        "dim": 96,
        "heads": 4,
        "img": 128,
        "out": 128,
        "scales": [1, 1, 2, 3, 4, 5, 6, 7, 8],
        "scales_interp": [1, 2, 4, 6, 8, 10, 12, 14, 16],
        "ch": 16,
        "norm_groups": 4,
        "nres": 1,
        "dec_depth": 1,
        "clip_layers": 2,
        "clip_heads": 4,
    },
}
"""1.9 M parameters; the scales are the published ones, with a quarter of the codes."""

ENTRY = TokenizerEntry(
    name="tokenflow",
    target="medbench.baselines.tokenflow:build",
    kind="discrete",
    default_variant="official",
    card=Path(__file__).parent / "cards" / "tokenflow.yaml",
    wrappers=("ema", "model", "state_dict"),
    summary="TokenFlow: 817 positions on nine scales, 32768 codes shared by two codebooks",
    variants={
        "official": Variant(
            summary="CLIP-B teacher, enhanced decoder (377 M parameters), published weights",
            config=OFFICIAL_CONFIG,
            weights=HubFile(
                repository="ByteFlow-AI/TokenFlow",
                filename="tokenflow_clipb_32k_enhanced.pt",
                licence="mit",
                size_bytes=1_510_000_000,
            ),
            bits_per_image=TokenFlowConfig.from_mapping(OFFICIAL_CONFIG).bits_per_image,
        ),
    }
    | tiny_variants(
        "tokenflow",
        TOKENFLOW_TINY_CONFIG,
        weights=packaged_weights(Path(__file__).parent / "weights"),
        bits_per_image=TokenFlowConfig.from_mapping(TOKENFLOW_TINY_CONFIG).bits_per_image,
        parameters="1.9 M",
    ),
)

ENTRIES: tuple[TokenizerEntry, ...] = (ENTRY,)
