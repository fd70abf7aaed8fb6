"""From pixels to the FID Inception's input: the three ways that are in use.

They differ by a third of a pixel, by the filter and by half a grey level, and that moves the FID:
the way is part of a value's definition, and values of different ways are never compared.

Sources: Seitzer, pytorch-fid 0.3.0 (the main way); TensorFlow 1's `resize_bilinear` without
`align_corners`, as torch-fidelity repeats it; Parmar, Zhang, Zhu, "On aliased resizing and
surprising subtleties in GAN evaluation", CVPR 2022 (clean-fid).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from .inception_definition import INPUT_SIDE

_SIZE = (INPUT_SIDE, INPUT_SIDE)


def as_pytorch_fid(pixels: Tensor) -> Tensor:
    """Bilinear with half-pixel centres, then [-1, 1]; float32 (B, 3, H, W) in 0..255."""
    # The order of pytorch-fid: to [0, 1], resize, then to [-1, 1].
    resized = F.interpolate(pixels.div_(255.0), size=_SIZE, mode="bilinear")
    return resized.mul_(2.0).sub_(1.0)


def as_tensorflow(pixels: Tensor) -> Tensor:
    """TensorFlow 1's bilinear: output i reads input i·H/299, without the half-pixel shift."""
    along_rows = _corner_bilinear(pixels, axis=2)
    return _corner_bilinear(along_rows, axis=3).sub_(128.0).div_(128.0)


def as_clean_fid(pixels: Tensor) -> Tensor:
    """Bicubic with Pillow's kernel (a = -1/2) on floats, clipped, not rounded."""
    # With antialias torch takes Pillow's kernel; when it enlarges, nothing else changes.
    resized = F.interpolate(pixels, size=_SIZE, mode="bicubic", antialias=True)
    return resized.clamp_(0.0, 255.0).sub_(128.0).div_(128.0)


def _corner_bilinear(pixels: Tensor, axis: int) -> Tensor:
    side = pixels.shape[axis]
    places = torch.arange(INPUT_SIDE, dtype=torch.float64) * (side / INPUT_SIDE)
    lower = places.floor().long().to(pixels.device)
    upper = (lower + 1).clamp(max=side - 1)
    shape = [1, 1, 1, 1]
    shape[axis] = INPUT_SIDE
    share = (places - places.floor()).float().view(shape).to(pixels.device)
    first = pixels.index_select(axis, lower)
    return first + (pixels.index_select(axis, upper) - first) * share


PREPARATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "": as_pytorch_fid,
    "tf": as_tensorflow,
    "clean": as_clean_fid,
}
"""By the names of `inception_definition.VARIANTS`; each may overwrite its input."""
