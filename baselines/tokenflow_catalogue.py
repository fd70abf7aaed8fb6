"""TokenFlow as the registry lists it, without importing any of its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, TokenizerEntry, Variant
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
    },
)

ENTRIES: tuple[TokenizerEntry, ...] = (ENTRY,)
