"""The check of an image batch with which every tokenizer starts."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import UsageError


def check_images(images: Tensor, *, tokenizer: str, size_multiple: int = 1) -> None:
    """Refuse what is not float32 (B, 3, H, H) in [0, 1] with H a multiple of `size_multiple`.

    Args:
        images: the batch that a tokenizer was given.
        tokenizer: `name@variant`, for the message.
        size_multiple: `info.size_multiple` of the tokenizer.

    Raises:
        UsageError: wrong type, dtype, shape, side or range, or values that are not finite.
    """
    if not isinstance(images, Tensor):
        message = f"{tokenizer}: images must be a torch tensor, got {type(images).__name__}"
        raise UsageError(message)
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[0] < 1 or shape[1] != 3 or shape[2] != shape[3] or shape[2] < 1:
        message = (
            f"{tokenizer}: images must have shape (B, 3, H, H) with B and H at least 1, got {shape}"
        )
        raise UsageError(message)
    if images.dtype != torch.float32:
        message = f"{tokenizer}: images must be float32 in [0, 1], got {images.dtype}"
        raise UsageError(message)
    if shape[2] % size_multiple:
        below = shape[2] // size_multiple * size_multiple
        nearest = f"{below} or {below + size_multiple}" if below else f"{size_multiple}"
        message = (
            f"{tokenizer}: the side must be a multiple of {size_multiple}, got {shape[2]}; "
            f"resize the images to {nearest} first"
        )
        raise UsageError(message)
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0.0 and high <= 1.0):
        message = (
            f"{tokenizer}: image values must be finite and in [0, 1], "
            f"got minimum {low:g} and maximum {high:g}"
        )
        raise UsageError(message)
