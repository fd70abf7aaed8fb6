"""From an array of pixels to a square of the asked side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


def to_square(pixels: NDArray[Any], side: int) -> torch.Tensor:
    """Resized to a square, bilinear and antialiased; the aspect is not kept.

    Args:
        pixels: uint8 (h, w, 3), or float32 (h, w) in [0, 1], whose grey is repeated.
        side: in pixels.

    Returns:
        float32 (3, side, side) in [0, 1].
    """
    array = torch.from_numpy(np.array(pixels))  # a copy: memory maps cannot be written to
    if array.dtype == torch.uint8:
        image = array.permute(2, 0, 1)
        if image.shape[1:] != (side, side):
            # In bytes, rounded before they become numbers: three times as fast.
            image = _resized(image, side)
        return image.float().div_(255)
    image = array[None]
    if image.shape[1:] != (side, side):
        image = _resized(image, side).clamp_(0, 1)
    return image.expand(3, -1, -1)


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    size = (side, side)
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].contiguous()
