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
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights import load_into
from .single_codebook import checked_grid
from .taming_adapter import (
    DROPPED_KEYS,
    checked_latents,
    network_images,
    protocol_images,
    published_config,
    tokens,
)
from .taming_catalogue import ENTRIES
from .taming_config import BENCHMARK_SIDE, VQGANConfig
from .vqgan_model import VQGANModel

_ENTRY = next(entry for entry in ENTRIES if entry.name == "vqgan")
_GUMBEL_KEY = "quantize.proj.weight"
_CARD = read_model_card(Path(__file__).parent / "cards" / "vqgan.yaml")


class VQGAN:
    """A VQGAN behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat.
    """

    def __init__(self, model: VQGANModel, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices (B, 1, L) and codes in place (B, D, h, w)."""
        indices = self.model.quantize.encode(self._latent(images))
        return Encoding(indices.flatten(1).unsqueeze(1), self.model.quantize.look_up(indices))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices, or without them quantised latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if encoding.indices is not None:
            indices = checked_grid(encoding.indices, self.info).to(self._device)
            latent = self.model.quantize.look_up(indices)
        else:
            latent = checked_latents(encoding.latents, self.info).to(self._device)
        return protocol_images(self.model.decode_latent(latent))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the code of each cell (B, L, D)."""
        indices = self.model.quantize.encode(self._latent(images))
        return tokens(self.model.quantize.look_up(indices))

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the latent before quantisation (B, L, D)."""
        return tokens(self._latent(images))

    def _latent(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        channels = self.model.config.trunk.in_channels
        return self.model.encode_latent(network_images(images.to(self._device), channels))


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
