"""PUMIT's simple tokenizer as the harness speaks to it, once as published and once hard.

Upstream decodes the mean of the embeddings by their probabilities: `pumit`, which is continuous.
`pumit-hard` takes the most probable embedding instead: a code, and a worse reconstruction, since
the network was not trained for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import Checkpoint, checkpoint_of
from ..harness.entries import TokenizerEntry
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights import load_into
from .emu3_pumit_catalogue import PUMIT_ENTRY, PUMIT_HARD_ENTRY
from .pumit_config import OFFICIAL_CONFIG, PUMITConfig
from .pumit_model import PUMITModel, collapsed
from .single_codebook import checked_grid
from .taming_adapter import checked_latents, network_images, protocol_images, tokens
from .taming_config import BENCHMARK_SIDE

_CARD = read_model_card(Path(__file__).parent / "cards" / "pumit.yaml")


class PUMIT:
    """A PUMIT tokenizer as published, behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat.
    """

    def __init__(self, model: PUMITModel, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> mixed embeddings (B, D, h, w)."""
        logits = self.model.quantize.logits(self._latent(images))
        return Encoding(latents=self.model.quantize.mixed(logits.softmax(dim=-1)))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: they are absent, or their shape or kind is wrong.
        """
        latents = checked_latents(encoding.latents, self.info)
        return protocol_images(self.model.decoder(latents.to(self._device)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> what is decoded, cell by cell (B, L, D)."""
        latents = self.encode(images).latents
        assert latents is not None
        return tokens(latents)

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the latent before quantisation (B, L, D)."""
        return tokens(self._latent(images))

    def _latent(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        return self.model.encoder(network_images(images.to(self._device), 3))


class PUMITHard(PUMIT):
    """The same network, with the most probable embedding in each cell."""

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices (B, 1, L), embeddings in place (B, D, h, w)."""
        indices = self.model.quantize.logits(self._latent(images)).argmax(dim=-1)
        return Encoding(indices.flatten(1).unsqueeze(1), self.model.quantize.look_up(indices))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices, or without them latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if encoding.indices is not None:
            indices = checked_grid(encoding.indices, self.info).to(self._device)
            encoding = Encoding(latents=self.model.quantize.look_up(indices))
        return super().decode(encoding)


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> PUMIT:
    """A PUMIT tokenizer as published, with weights.

    Args:
        variant: `official`, or a name for the user's own.
        config: the terms of upstream's `SimpleVQTokenizer`; None takes the published ones.
        weights: a file, or a state dict in upstream's keys (three-dimensional kernels).
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: no weights were given; the message says where the published ones are.
    """
    checkpoint = checkpoint_of(PUMIT_ENTRY, variant, weights, config=config)
    model = _network(config, checkpoint.state, name=f"pumit@{variant}")
    return PUMIT(model.to(device), _describe(PUMIT_ENTRY, variant, model.config, checkpoint))


def build_hard(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> PUMITHard:
    """A PUMIT tokenizer that takes the most probable embedding; all else as for `build`."""
    checkpoint = checkpoint_of(PUMIT_HARD_ENTRY, variant, weights, config=config)
    model = _network(config, checkpoint.state, name=f"pumit-hard@{variant}")
    info = _describe(PUMIT_HARD_ENTRY, variant, model.config, checkpoint)
    return PUMITHard(model.to(device), info)


def _network(
    config: Mapping[str, Any] | None, state: Mapping[str, Tensor], *, name: str
) -> PUMITModel:
    parsed = PUMITConfig.from_mapping(OFFICIAL_CONFIG if config is None else config)
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        volume = PUMITModel(parsed, dimensions=3)
        model = PUMITModel(parsed)
    load_into(volume, state, name=name)
    model.load_state_dict(collapsed(volume), assign=True)
    return model


def _describe(
    entry: TokenizerEntry, variant: str, config: PUMITConfig, checkpoint: Checkpoint
) -> TokenizerInfo:
    hard = entry.kind == "discrete"
    return TokenizerInfo(
        name=entry.name,
        variant=variant,
        kind=entry.kind,
        resolution=BENCHMARK_SIDE,
        size_multiple=config.downsample,
        downsample=config.downsample,
        layout="raster" if hard else "none",
        codebooks=1 if hard else 0,
        codebook_size=config.num_embeddings if hard else 0,
        positions=config.positions if hard else 0,
        latent_dims=config.embedding_dim,
        feature_dims=config.embedding_dim,
        parameters=sum(tensor.numel() for tensor in checkpoint.state.values()),
        weights_sha256=checkpoint.sha256,
        bits_per_image=config.hard_bits_per_image if hard else config.soft_bits_per_image,
        **asdict(_CARD.provenance(variant)),
    )
