"""The tokenizers of this folder, without importing any of their code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, TokenizerEntry, Variant
from ..harness.packaged import packaged_weights, tiny_variants
from .meditok_config import MedITokConfig

CAUSAL = "causal"
"""The one term beside upstream's: whether the projections are masked."""

READINGS: dict[str, dict[str, Any]] = {
    "causal attention": {CAUSAL: True},
    "full attention": {CAUSAL: False},
}
"""The two networks that a file of this layout may belong to."""

OFFICIAL_CONFIG: dict[str, Any] = {
    "model": "vitamin_large",
    "img_size": 256,
    "embed_dim": 768,
    "vocab_size": 32768,
    "vocab_width": 64,
    "num_codebooks": 8,
    "quant_proj": "attn",
}
"""The published network, in upstream's terms."""

TINY_CONFIG: dict[str, Any] = OFFICIAL_CONFIG | {
    "model": "vitamin_tiny",
    "embed_dim": 64,
    "variant": {
        "stem_width": 12,
        "stage_dims": [12, 24, 128],
        "stage_depths": [1, 1],
        "embed_dim": 128,
        "depth": 4,
        "num_heads": 4,
        "mlp_ratio": 2.0,
        "decoder_dims": [128, 24, 16],
        "decoder_depths": [1, 1],
    },
}
"""2.0 M parameters; the codebooks, and so the bit rate, are those of the published network."""

_WEIGHTS = packaged_weights(Path(__file__).parent / "weights")

OFFICIAL_WEIGHTS = HubFile(
    repository="massaki75/meditok",
    filename="meditok_simple_v1.pth",
    size_bytes=2_790_000_000,
)


def _tiny(name: str) -> dict[str, Variant]:
    """What the bundled trainer made of `TINY_CONFIG`."""
    bits = MedITokConfig.from_mapping(TINY_CONFIG).bits_per_image
    return tiny_variants(
        name, TINY_CONFIG, weights=_WEIGHTS, bits_per_image=bits, parameters="2.0 M"
    )


ENTRIES: tuple[TokenizerEntry, ...] = (
    TokenizerEntry(
        name="meditok",
        target="medbench.tokenizers.meditok:build",
        kind="discrete",
        default_variant="tiny",
        readings=READINGS,
        card=Path(__file__).parent / "cards" / "meditok.yaml",
        summary="MedITok: 256 positions × 8 codebooks of 4096 codes, ViTamin encoder and decoder",
        variants=_tiny("meditok")
        | {
            "official": Variant(
                summary="the published network (697 M parameters) and weights",
                config=OFFICIAL_CONFIG,
                weights=OFFICIAL_WEIGHTS,
                bits_per_image=MedITokConfig.from_mapping(OFFICIAL_CONFIG).bits_per_image,
            ),
        },
    ),
    *(
        TokenizerEntry(
            name="meditok-s1",
            target="medbench.tokenizers.meditok:build_stage1",
            kind="discrete",
            default_variant="tiny",
            card=Path(__file__).parent / "cards" / "meditok.yaml",
            summary="MedITok after its first stage, aligned with images only",
            variants=variants,
        )
        for variants in [_tiny("meditok-s1")]
        if variants
    ),
)
