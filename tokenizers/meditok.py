"""MedITok (Ma et al. 2025): a discrete tokenizer for medical images, as the harness speaks to it.

Images go from [0, 1] to the network's [-1, 1] and back. The reconstruction is the decoder's own
output: upstream's `idx_to_img` clamps it, here the runner does, once, and counts what it clamps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.errors import UsageError
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from .catalogue import ENTRIES
from .meditok_config import DOWNSAMPLE, MedITokConfig
from .meditok_model import MedITokModel
from .meditok_network import build_network, describe, take_causal

_CARD = read_model_card(Path(__file__).parent / "cards" / "meditok.yaml")


class MedITok:
    """A MedITok network behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat.
    """

    def __init__(self, model: MedITokModel, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices (B, K, L) and unit codes (B, D, h, w)."""
        tokens = self.model.encode_tokens(self._normalised(images))
        indices = self.model.quantizer.encode(self.model.quant_proj(tokens))
        side = images.shape[-1] // DOWNSAMPLE
        latents = self.model.quantizer.look_up(indices).transpose(1, 2)
        latents = latents.unflatten(2, (side, side)).contiguous()
        return Encoding(indices, latents, continuous=tokens)

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices, or without them quantised latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if encoding.indices is not None:
            indices = self._checked_indices(encoding.indices)
            side = math.isqrt(indices.shape[-1])
            latent = self.model.quantizer.look_up(indices)
        elif encoding.latents is not None:
            latents = self._checked_latents(encoding.latents)
            side = latents.shape[-1]
            latent = latents.flatten(2).transpose(1, 2)
        else:
            message = f"{self.info.full_name}: decode needs indices or latents, got neither"
            raise UsageError(message)
        return (self.model.decode_latent(latent, (side, side)) + 1) / 2

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> tokens after the quantised latent's projection (B, L, E)."""
        indices = self.model.encode_indices(self._normalised(images))
        return self.model.post_quant_proj(self.model.quantizer.look_up(indices))

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> encoder tokens before quantisation (B, L, E)."""
        return self.model.encode_tokens(self._normalised(images))

    def _normalised(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=DOWNSAMPLE)
        return images.to(self._device) * 2 - 1

    def _checked_indices(self, indices: Tensor) -> Tensor:
        name, books, size = self.info.full_name, self.info.codebooks, self.info.codebook_size
        shape = tuple(indices.shape)
        if indices.dtype != torch.int64 or indices.ndim != 3 or shape[1] != books:
            message = f"{name}: indices must be int64 (B, {books}, L), got {indices.dtype} {shape}"
            raise UsageError(message)
        if not shape[0] or not shape[2] or math.isqrt(shape[2]) ** 2 != shape[2]:
            message = (
                f"{name}: L must be the cells of a square grid (h·h) and B at least 1: {shape}"
            )
            raise UsageError(message)
        low, high = (int(value) for value in indices.aminmax())
        if low < 0 or high >= size:
            message = f"{name}: indices must be in 0 to {size - 1}, got {low} to {high}"
            raise UsageError(message)
        return indices.to(self._device)

    def _checked_latents(self, latents: Tensor) -> Tensor:
        shape, dims = tuple(latents.shape), self.info.latent_dims
        right = latents.ndim == 4 and shape[1] == dims and shape[2] == shape[3] and latents.numel()
        if not right or latents.dtype != torch.float32:
            message = (
                f"{self.info.full_name}: latents must be float32 (B, {dims}, h, h), "
                f"got {latents.dtype} {shape}"
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
) -> MedITok:
    """A MedITok with weights.

    Args:
        variant: `tiny`, `official`, or a name for the user's own.
        config: upstream's terms, and `causal` (true where it is left out); None takes the
            variant's, or for own weights the published variant with the same token width.
        weights: a file, a state dict in upstream's keys, or None for the variant's own.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    return _build("meditok", variant, config, weights, device)


def build_stage1(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> MedITok:
    """A MedITok after its first stage; see `build`."""
    return _build("meditok-s1", variant, config, weights, device)


def _build(
    tokenizer: str,
    variant: str,
    config: Mapping[str, Any] | None,
    weights: Mapping[str, Tensor] | Path | str | None,
    device: str,
) -> MedITok:
    entry = next(each for each in ENTRIES if each.name == tokenizer)
    name = f"{tokenizer}@{variant}"
    known = entry.variants
    checkpoint = checkpoint_of(entry, variant, weights, config=config)
    if config is None:
        declared = known[variant].config if variant in known else None
        config = declared or _fitting_config(checkpoint.state, name=name)
    terms = dict(config)
    causal = take_causal(terms, default=True, name=name)
    parsed = MedITokConfig.from_mapping(terms)
    model = build_network(parsed, checkpoint.state, name=name, causal=causal)
    provenance = _CARD.provenance(variant)
    info = describe(model, name, provenance=provenance, weights_sha256=checkpoint.sha256)
    return MedITok(model.to(device), info)


def _fitting_config(state: Mapping[str, Tensor], *, name: str) -> Mapping[str, Any]:
    """The published configuration whose token width is that of the checkpoint."""
    norm = state.get("encoder.norm.weight")
    for declared in ENTRIES[0].variants.values():
        config = declared.config or {}
        width = MedITokConfig.from_mapping(config).sizes.embed_dim
        if norm is not None and tuple(norm.shape) == (width,):
            return config
    seen = "no encoder.norm.weight" if norm is None else f"token width {tuple(norm.shape)}"
    message = (
        f"{name}: the checkpoint has {seen}, which is none of the published MedITok networks. "
        "Pass the --config that belongs to it (upstream's terms, sizes under 'variant')."
    )
    raise UsageError(message)
