"""VQGAN (Esser et al. 2021, arXiv:2012.09841) as the harness speaks to it.

The published f8 archives hold no configuration; sizes are those that latent-diffusion and LlamaGen
run them with. A `GumbelVQ` checkpoint is recognised by its projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.model_card import read_model_card
from ..harness.protocol import TokenizerInfo
from ..harness.weights import load_into
from .single_codebook import SingleCodebook
from .taming_adapter import (
    DROPPED_KEYS,
    published_config,
)
from .taming_catalogue import ENTRIES
from .taming_config import BENCHMARK_SIDE, VQGANConfig
from .vqgan_model import VQGANModel

_ENTRY = next(entry for entry in ENTRIES if entry.name == "vqgan")
_GUMBEL_KEY = "quantize.proj.weight"
_CARD = read_model_card(Path(__file__).parent / "cards" / "vqgan.yaml")


class VQGAN(SingleCodebook):
    """A VQGAN behind the `Tokenizer` protocol."""


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> VQGAN:
    """A VQGAN with weights.

    Args:
        variant: `official`, another published one, or a name for the user's own.
        config: the terms of taming's `VQModel` or `GumbelVQ`; None takes the variant's, or for own
            weights the published configuration with the checkpoint's outline.
        weights: a file, or a state dict in upstream's keys. No published file lies on a hub.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: no weights were given; the message says where the published ones are.
    """
    name = f"vqgan@{variant}"
    declared = _ENTRY.variants.get(variant)
    checkpoint = checkpoint_of(_ENTRY, variant, weights, config=config)
    if config is None:
        config = declared.config if declared else None
        config = config or published_config(checkpoint.state, (_ENTRY,), name=name)
    parsed = VQGANConfig.from_mapping(config)
    parsed = replace(parsed, gumbel=parsed.gumbel or _GUMBEL_KEY in checkpoint.state)
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        model = VQGANModel(parsed)
    load_into(model, checkpoint.state, name=name, allow_unexpected=DROPPED_KEYS)
    return VQGAN(model.to(device), describe(model, name, weights_sha256=checkpoint.sha256))


def describe(model: VQGANModel, full_name: str, *, weights_sha256: str | None) -> TokenizerInfo:
    """What records say of a network of this architecture; `full_name` is `name@variant`."""
    config, trunk = model.config, model.config.trunk
    name, _, variant = full_name.partition("@")
    return TokenizerInfo(
        name=name,
        variant=variant,
        kind="discrete",
        resolution=BENCHMARK_SIDE,
        size_multiple=trunk.downsample,
        downsample=trunk.downsample,
        layout="raster",
        codebooks=1,
        codebook_size=config.n_embed,
        positions=trunk.cells,
        latent_dims=config.embed_dim,
        feature_dims=config.embed_dim,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256,
        colour="luma" if trunk.in_channels == 1 else "rgb",
        bits_per_image=config.bits_per_image,
        **asdict(_CARD.provenance(variant)),
    )
