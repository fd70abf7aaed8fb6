"""Tokenizers with one codebook on a square grid: what VQGAN and Emu3 have in common."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.image_batch import check_images
from ..harness.protocol import Encoding, TokenizerInfo
from .taming_adapter import checked_latents, network_images, protocol_images, tokens


class SingleCodebook:
    """A network with one codebook behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights (`config.trunk`, `encode_latent`, `decode_latent`,
            and a `quantize` with `encode` and `look_up`); it is put in evaluation mode.
        info: what records repeat.
    """

    def __init__(self, model: Any, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices (B, 1, L) and codes in place (B, D, h, w)."""
        latent = self._latent(images)
        indices = self.model.quantize.encode(latent)
        codes = self.model.quantize.look_up(indices)
        return Encoding(indices.flatten(1).unsqueeze(1), codes, continuous=tokens(latent))

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
        return protocol_images(self._output(latent))

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

    def _output(self, latent: Tensor) -> Tensor:
        return self.model.decode_latent(latent)


def checked_grid(indices: Tensor, info: TokenizerInfo) -> Tensor:
    """Indices as the protocol has them, int64 (B, 1, L) -> (B, h, h).

    Raises:
        UsageError: dtype, shape or range is wrong.
    """
    name, size, shape = info.full_name, info.codebook_size, tuple(indices.shape)
    if indices.dtype != torch.int64 or indices.ndim != 3 or shape[1] != 1:
        message = f"{name}: indices must be int64 (B, 1, L), got {indices.dtype} {shape}"
        raise UsageError(message)
    side = math.isqrt(shape[2])
    if not shape[0] or not side or side**2 != shape[2]:
        message = f"{name}: L must be the cells of a square grid (h·h) and B at least 1: {shape}"
        raise UsageError(message)
    low, high = (int(value) for value in indices.aminmax())
    if low < 0 or high >= size:
        message = f"{name}: indices must be in 0 to {size - 1}, got {low} to {high}"
        raise UsageError(message)
    return indices.reshape(-1, side, side)
