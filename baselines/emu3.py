"""Emu3's vision tokenizer (Wang et al. 2024, arXiv:2409.18869) as the harness speaks to it.

Upstream's own preprocessing would enlarge a 256-pixel image to 512; here it is encoded as it is,
at 32 × 32 positions. The reconstruction is the decoder's own output, not clamped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.model_card import read_model_card
from ..harness.protocol import TokenizerInfo
from ..harness.weights import load_into
from .emu3_config import OFFICIAL_CONFIG, Emu3Config
from .emu3_model import Emu3Model
from .emu3_pumit_catalogue import EMU3_ENTRY
from .single_codebook import SingleCodebook
from .taming_config import BENCHMARK_SIDE

_CARD = read_model_card(Path(__file__).parent / "cards" / "emu3-vq.yaml")


class Emu3VQ(SingleCodebook):
    """An Emu3 tokenizer behind the `Tokenizer` protocol; of its clip the first frame is shown."""

    def _output(self, latent: Tensor) -> Tensor:
        return self.model.decode_latent(latent)[:, 0]


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> Emu3VQ:
    """An Emu3 tokenizer with weights.

    Args:
        variant: `official`, or a name for the user's own.
        config: the terms of upstream's `Emu3VisionVQConfig`; None takes the published ones.
        weights: a file, a state dict in upstream's keys, or None for the variant's own.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    name = f"emu3-vq@{variant}"
    checkpoint = checkpoint_of(EMU3_ENTRY, variant, weights, config=config)
    parsed = Emu3Config.from_mapping(OFFICIAL_CONFIG if config is None else config)
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        model = Emu3Model(parsed)
    load_into(model, checkpoint.state, name=name)
    info = _describe(model, variant, weights_sha256=checkpoint.sha256)
    return Emu3VQ(model.to(device), info)


def _describe(model: Emu3Model, variant: str, *, weights_sha256: str | None) -> TokenizerInfo:
    config, trunk = model.config, model.config.trunk
    return TokenizerInfo(
        name="emu3-vq",
        variant=variant,
        kind="discrete",
        resolution=BENCHMARK_SIDE,
        size_multiple=trunk.downsample,
        downsample=trunk.downsample,
        layout="raster",
        codebooks=1,
        codebook_size=config.codebook_size,
        positions=trunk.cells,
        latent_dims=trunk.z_channels,
        feature_dims=trunk.z_channels,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256,
        bits_per_image=config.bits_per_image,
        **asdict(_CARD.provenance(variant)),
    )
