"""A tokenizer in bfloat16: a proxy that keeps the protocol and gives float32."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from .protocol import ContinuousTokenizer, Encoding, Tokenizer


class Autocast:
    """Computes in bfloat16 what torch holds to be safe there; everything that it gives is float32.

    On CUDA the convolutions run channels-last, the layout that its bfloat16 kernels take. Float32
    is left in torch's own layout: there the other one gains nothing, and rounds otherwise.
    """

    def __init__(self, tokenizer: Tokenizer, device: str) -> None:
        """Use `in_bfloat16`."""
        self.info = tokenizer.info
        self._tokenizer = tokenizer
        self._device = torch.device(device).type
        self._layout = torch.preserve_format
        if self._device == "cuda":
            self._layout = torch.channels_last
            for part in getattr(tokenizer, "__dict__", {}).values():
                if isinstance(part, nn.Module):
                    part.to(memory_format=self._layout)

    def encode(self, images: Tensor) -> Encoding:
        """See `Tokenizer`."""
        with self._cast():
            found = self._tokenizer.encode(self._laid_out(images))
        return replace(found, latents=_whole(found.latents), continuous=_whole(found.continuous))

    def decode(self, encoding: Encoding) -> Tensor:
        """See `Tokenizer`."""
        with self._cast():
            return self._tokenizer.decode(encoding).float()

    def features(self, images: Tensor) -> Tensor:
        """See `Tokenizer`."""
        with self._cast():
            return self._tokenizer.features(self._laid_out(images)).float()

    def _cast(self) -> torch.autocast:
        return torch.autocast(self._device, dtype=torch.bfloat16)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self._layout) if self._device == "cuda" else images


class ContinuousAutocast(Autocast):
    """Of a tokenizer that also shows its encoder output."""

    def continuous(self, images: Tensor) -> Tensor:
        """See `ContinuousTokenizer`."""
        assert isinstance(self._tokenizer, ContinuousTokenizer)
        with self._cast():
            return self._tokenizer.continuous(self._laid_out(images)).float()


def in_bfloat16(tokenizer: Tokenizer, device: str) -> Tokenizer:
    """The same tokenizer, computing in bfloat16 on that device."""
    continuous = isinstance(tokenizer, ContinuousTokenizer)
    return (ContinuousAutocast if continuous else Autocast)(tokenizer, device)


def _whole(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.float()
