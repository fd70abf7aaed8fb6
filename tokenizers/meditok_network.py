"""Building a MedITok or UniTok network from a configuration and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..harness.file_hashes import file_sha256
from ..harness.protocol import TokenizerInfo
from ..harness.weights import load_into, read_state_dict, unwrap
from .meditok_config import DOWNSAMPLE, MedITokConfig
from .meditok_model import MedITokModel

ALIGNMENT_KEYS = (r"text_encoder\.", r"text_fc_norm\.", r"text_projection\.")
"""What trainers and UniTok store beside the tokenizer: the part that reads captions."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What `TokenizerInfo` says of a variant's training and licences."""

    training_data: str
    weights_licence: str
    code_licence: str
    source: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors that nobody else holds, and the hash of the file that they come from, if any."""

    state: dict[str, Tensor]
    sha256: str | None


def read_checkpoint(weights: Mapping[str, Tensor] | Path | str, *, name: str) -> Checkpoint:
    """Read a file, or copy a state dict.

    Raises:
        UsageError: it is not a checkpoint.
    """
    if isinstance(weights, Mapping):
        state = {key: value.clone() for key, value in unwrap(weights, name=name).items()}
        return Checkpoint(state, None)
    path = Path(weights)
    return Checkpoint(read_state_dict(path), file_sha256(path))


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
        training_data=provenance.training_data,
        code_licence=provenance.code_licence,
        weights_licence=provenance.weights_licence,
        source=provenance.source,
        bits_per_image=config.bits_per_image,
    )
