"""Emu3's vision tokenizer and PUMIT, as the registry reads them. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, ManualFile, TokenizerEntry, Variant
from ..harness.packaged import packaged_weights, tiny_variants
from .emu3_config import OFFICIAL_CONFIG as EMU3_CONFIG
from .emu3_config import Emu3Config
from .pumit_config import OFFICIAL_CONFIG as PUMIT_CONFIG
from .pumit_config import PUMITConfig

_CARDS = Path(__file__).parent / "cards"
_WEIGHTS = packaged_weights(Path(__file__).parent / "weights")

EMU3_TINY_CONFIG: dict[str, Any] = EMU3_CONFIG | {
    "ch": 16,
    "ch_mult": [1, 1, 2, 7],
    "num_res_blocks": 1,
    "norm_groups": 4,
}
"""2.2 M parameters; the codebook, and so the bit rate, is that of the published network."""

PUMIT_TINY_CONFIG: dict[str, Any] = PUMIT_CONFIG | {
    "quantize": {"num_embeddings": 1024, "embedding_dim": 128, "mode": "soft"},
    "downsample_layer_channels": [32, 64, 128],
    "upsample_layer_channels": [32, 64, 128],
}
"""2.3 M parameters as checkpoints hold them, 1.0 M as images are run with; as many embeddings as
the published network."""

PUMIT_SOURCE = "https://github.com/function2-llx/PUMIT/releases/tag/v1"
"""Where PUMIT's author publishes the checkpoint; the repository has no licence file."""

EMU3_ENTRY = TokenizerEntry(
    name="emu3-vq",
    card=_CARDS / "emu3-vq.yaml",
    target="medbench.baselines.emu3:build",
    kind="discrete",
    default_variant="official",
    summary="Emu3's vision tokenizer: 32768 codes on a convolutional grid, f8",
    variants={
        "official": Variant(
            summary="the published network (271 M parameters) and weights",
            config=EMU3_CONFIG,
            weights=HubFile(
                repository="BAAI/Emu3-VisionTokenizer",
                filename="model.safetensors",
                licence="Apache-2.0",
                size_bytes=1_083_000_000,
            ),
            bits_per_image=Emu3Config.from_mapping(EMU3_CONFIG).bits_per_image,
        ),
    }
    | tiny_variants(
        "emu3-vq",
        EMU3_TINY_CONFIG,
        weights=_WEIGHTS,
        bits_per_image=Emu3Config.from_mapping(EMU3_TINY_CONFIG).bits_per_image,
        parameters="2.2 M",
    ),
    aliases=("emu3vq",),
)

_PUMIT = PUMITConfig.from_mapping(PUMIT_CONFIG)
_PUMIT_TINY = PUMITConfig.from_mapping(PUMIT_TINY_CONFIG)

PUMIT_WEIGHTS = ManualFile(
    f"the checkpoint of the simple, soft tokenizer from {PUMIT_SOURCE}", licence="none is given"
)

PUMIT_ENTRY = TokenizerEntry(
    name="pumit",
    card=_CARDS / "pumit.yaml",
    target="medbench.baselines.pumit:build",
    kind="continuous",
    default_variant="official",
    summary="PUMIT as published: each latent cell is a mixture of 1024 embeddings (not a code)",
    variants={
        "official": Variant(
            summary="simple, soft (34 M parameters)",
            config=PUMIT_CONFIG,
            weights=PUMIT_WEIGHTS,
            bits_per_image=_PUMIT.soft_bits_per_image,
        ),
    }
    | tiny_variants(
        "pumit",
        PUMIT_TINY_CONFIG,
        weights=_WEIGHTS,
        bits_per_image=_PUMIT_TINY.soft_bits_per_image,
        parameters="2.3 M",
    ),
)

PUMIT_HARD_ENTRY = TokenizerEntry(
    name="pumit-hard",
    card=_CARDS / "pumit.yaml",
    target="medbench.baselines.pumit:build_hard",
    kind="discrete",
    default_variant="official",
    summary="PUMIT with the most probable embedding in each cell: 256 codes of 1024",
    variants={
        "official": Variant(
            summary="simple, soft, read hard (34 M parameters)",
            config=PUMIT_CONFIG,
            weights=PUMIT_WEIGHTS,
            bits_per_image=_PUMIT.hard_bits_per_image,
        ),
    }
    | tiny_variants(
        "pumit",
        PUMIT_TINY_CONFIG,
        weights=_WEIGHTS,
        bits_per_image=_PUMIT_TINY.hard_bits_per_image,
        parameters="2.3 M",
    ),
)

ENTRIES: tuple[TokenizerEntry, ...] = (EMU3_ENTRY, PUMIT_ENTRY, PUMIT_HARD_ENTRY)
