"""UniTok as the registry lists it, without importing any of its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, ManualFile, TokenizerEntry, Variant
from ..harness.packaged import packaged_weights, tiny_variants
from ..tokenizers.catalogue import CAUSAL, READINGS
from ..tokenizers.catalogue import OFFICIAL_CONFIG as _MEDITOK_CONFIG
from ..tokenizers.catalogue import TINY_CONFIG as _MEDITOK_TINY_CONFIG
from ..tokenizers.meditok_config import MedITokConfig

OFFICIAL_CONFIG: dict[str, Any] = dict(_MEDITOK_CONFIG)
"""The published network, in upstream's terms: the sizes are MedITok's."""

UNITOK_TINY_CONFIG: dict[str, Any] = dict(_MEDITOK_TINY_CONFIG)
"""2.0 M parameters: the sizes of meditok@tiny."""

_BITS = MedITokConfig.from_mapping(OFFICIAL_CONFIG).bits_per_image

ENTRY = TokenizerEntry(
    name="unitok",
    target="medbench.baselines.unitok:build",
    kind="discrete",
    default_variant="official",
    readings=READINGS,
    card=Path(__file__).parent / "cards" / "unitok.yaml",
    summary="UniTok: 256 positions × 8 codebooks of 4096 codes, ViTamin encoder and decoder",
    variants={
        "official": Variant(
            summary="the file since 2025-04-02: full attention in the projections",
            config=OFFICIAL_CONFIG,
            weights=HubFile(
                repository="FoundationVision/unitok_tokenizer",
                filename="unitok_tokenizer.pth",
                licence="apache-2.0",
                size_bytes=3_310_000_000,
            ),
            bits_per_image=_BITS,
        ),
        "official-causal": Variant(
            summary="the file before 2025-04-02: causal attention in the projections",
            config=OFFICIAL_CONFIG | {CAUSAL: True},
            weights=ManualFile(
                "unitok_tokenizer.pth of a revision before 2025-04-02 in the history of "
                "https://huggingface.co/FoundationVision/unitok_tokenizer",
                licence="apache-2.0",
            ),
            bits_per_image=_BITS,
        ),
    }
    | tiny_variants(
        "unitok",
        UNITOK_TINY_CONFIG,
        weights=packaged_weights(Path(__file__).parent / "weights"),
        bits_per_image=MedITokConfig.from_mapping(UNITOK_TINY_CONFIG).bits_per_image,
        parameters="2.0 M",
    ),
)

ENTRIES: tuple[TokenizerEntry, ...] = (ENTRY,)
