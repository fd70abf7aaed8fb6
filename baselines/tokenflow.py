"""TokenFlow (Qu et al. 2024) as the harness speaks to it: one index sequence over nine scales.

Images go from [0, 1] to the network's [-1, 1] and back; both encoders get the same values. The
scales fit one side only (256 pixels for the published configuration), so no other is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.errors import UsageError
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights import load_into
from .tokenflow_catalogue import ENTRY, OFFICIAL_CONFIG
from .tokenflow_config import PATCH, TokenFlowConfig
from .tokenflow_model import TokenFlowModel

_CARD = read_model_card(Path(__file__).parent / "cards" / "tokenflow.yaml")


class TokenFlow:
    """A TokenFlow network behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat.
    """

    def __init__(self, model: TokenFlowModel, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices (B, 1, L), sum of the scales (B, D, g, g)."""
        x = self._normalised(images)
        semantic = self.model.semantic_tokens(x)
        found = self.model.encode(x, semantic)
        return Encoding(found.indices.unsqueeze(1), found.zq, continuous=semantic)

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices, or without them quantised latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if encoding.indices is not None:
            zq = self.model.look_up(self._checked_indices(encoding.indices))
        elif encoding.latents is not None:
            zq = self._checked_latents(encoding.latents)
        else:
            message = f"{self.info.full_name}: decode needs indices or latents, got neither"
            raise UsageError(message)
        return (self.model.decode_image(zq) + 1) / 2

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the quantised latent's cells (B, g², D), in raster order."""
        return self.model.encode(self._normalised(images)).zq.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> tokens of the semantic encoder before quantisation (B, g², E)."""
        return self.model.semantic_tokens(self._normalised(images))

    def _normalised(self, images: Tensor) -> Tensor:
        side, name = self.model.config.side, self.info.full_name
        check_images(images, tokenizer=name, size_multiple=side)
        if images.shape[-1] != side:
            scales = ", ".join(map(str, self.model.config.scales))
            message = (
                f"{name}: its scales ({scales} cells) fit images of side {side} only, "
                f"got {images.shape[-1]}; resize the images to {side} first"
            )
            raise UsageError(message)
        return images.to(self._device) * 2 - 1

    def _checked_indices(self, indices: Tensor) -> Tensor:
        name, size, positions = self.info.full_name, self.info.codebook_size, self.info.positions
        shape = tuple(indices.shape)
        if indices.dtype != torch.int64 or shape != (len(indices), 1, positions) or not shape[0]:
            message = (
                f"{name}: indices must be int64 (B, 1, {positions}), got {indices.dtype} {shape}"
            )
            raise UsageError(message)
        low, high = (int(value) for value in indices.aminmax())
        if low < 0 or high >= size:
            message = f"{name}: indices must be in 0 to {size - 1}, got {low} to {high}"
            raise UsageError(message)
        return indices.squeeze(1).to(self._device)

    def _checked_latents(self, latents: Tensor) -> Tensor:
        shape, grid = tuple(latents.shape), self.model.config.grid
        right = latents.ndim == 4 and shape[0] and shape[1:] == (self.info.latent_dims, grid, grid)
        if not right or latents.dtype != torch.float32:
            message = (
                f"{self.info.full_name}: latents must be float32 "
                f"(B, {self.info.latent_dims}, {grid}, {grid}), got {latents.dtype} {shape}"
            )
            raise UsageError(message)
        if not torch.isfinite(latents).all():
            message = f"{self.info.full_name}: latents must be finite"
            raise UsageError(message)
        return latents.to(self._device)


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> TokenFlow:
    """A TokenFlow with weights.

    Args:
        variant: `official`, or a name for the user's own.
        config: upstream's terms (see `tokenflow_config`); None takes the published ones.
        weights: a file, a state dict in upstream's keys, or None for the variant's own.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    name = f"tokenflow@{variant}"
    checkpoint = checkpoint_of(ENTRY, variant, weights, config=config)
    parsed = TokenFlowConfig.from_mapping(OFFICIAL_CONFIG if config is None else config)
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        model = TokenFlowModel(parsed)
    load_into(model, checkpoint.state, name=name)
    info = _describe(model, variant, weights_sha256=checkpoint.sha256)
    return TokenFlow(model.to(device), info)


def _describe(model: TokenFlowModel, variant: str, *, weights_sha256: str | None) -> TokenizerInfo:
    config = model.config
    return TokenizerInfo(
        name="tokenflow",
        variant=variant,
        kind="discrete",
        resolution=config.side,
        size_multiple=config.side,
        downsample=PATCH,
        layout="scales",
        codebooks=1,
        codebook_size=config.codebook_size,
        positions=config.positions,
        latent_dims=config.latent_dims,
        feature_dims=config.latent_dims,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256,
        bits_per_image=config.bits_per_image,
        **asdict(_CARD.provenance(variant)),
    )
