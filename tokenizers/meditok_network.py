"""Building a MedITok or UniTok network from a configuration and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.model_card import Provenance
from ..harness.protocol import TokenizerInfo
from ..harness.weights import load_into
from .catalogue import CAUSAL
from .meditok_config import DOWNSAMPLE, MedITokConfig
from .meditok_model import MedITokModel

ALIGNMENT_KEYS = (r"text_encoder\.", r"text_fc_norm\.", r"text_projection\.")
"""What trainers and UniTok store beside the tokenizer: the part that reads captions."""


def build_network(
    config: MedITokConfig, state: Mapping[str, Tensor], *, name: str, causal: bool
) -> MedITokModel:
    """A network that takes over the tensors of `state`.

    Args:
        config: sizes.
        state: tensors in upstream's keys; those of the caption encoder are left out.
        name: `name@variant`, for messages.
        causal: see `MedITokModel`.

    Raises:
        UsageError: the tensors do not fit the configuration.
    """
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        model = MedITokModel(config, causal=causal)
    load_into(model, state, name=name, allow_unexpected=ALIGNMENT_KEYS)
    return model


def take_causal(terms: dict[str, Any], *, default: bool, name: str) -> bool:
    """Take the one term beside upstream's out of a configuration: whether projections are masked.

    MedITok masks them; UniTok's first file does, its present one does not, under equal keys.

    Raises:
        UsageError: it is neither true nor false.
    """
    causal = terms.pop(CAUSAL, default)
    if not isinstance(causal, bool):
        message = f"{name}: {CAUSAL} must be true or false, not {causal!r}"
        raise UsageError(message)
    return causal


def describe(
    model: MedITokModel, full_name: str, *, provenance: Provenance, weights_sha256: str | None
) -> TokenizerInfo:
    """What records say of a network of this architecture; `full_name` is `name@variant`."""
    config = model.config
    name, _, variant = full_name.partition("@")
    return TokenizerInfo(
        name=name,
        variant=variant,
        kind="discrete",
        resolution=config.img_size,
        size_multiple=DOWNSAMPLE,
        downsample=DOWNSAMPLE,
        layout="raster",
        codebooks=config.num_codebooks,
        codebook_size=config.codebook_size,
        positions=config.positions,
        latent_dims=config.vocab_width,
        feature_dims=config.sizes.embed_dim,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256,
        bits_per_image=config.bits_per_image,
        **asdict(provenance),
    )
