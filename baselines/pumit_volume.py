"""PUMIT's network on volumes, whose slices may lie further apart than their pixels.

Depth is `aniso_d` powers of two coarser than the plane. Layers first halve only the plane until
the cells are cubes, and depth from then on; the decoder mirrors it. A layer that keeps depth uses
its own kernel summed over depth (PUMIT calls this spatially adaptive convolution).
Shapes: B volumes, D latent channels, (d, h, w) the latent grid.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..harness.errors import UsageError
from .pumit_model import DoubleSide, PUMITModel


class PUMITVolumeNetwork:
    """The encoder and decoder of three-dimensional kernels; volumes are in [-1, 1].

    Args:
        model: with kernels of three dimensions and its weights; it is put in evaluation mode.
    """

    def __init__(self, model: PUMITModel) -> None:
        self.model = model.eval().requires_grad_(False)
        self._halvings = model.config.downsample.bit_length() - 1

    def depth_downsample(self, aniso_d: int) -> int:
        """Slices per latent cell.

        Raises:
            UsageError: `aniso_d` is not an integer of at least 0.
        """
        if not isinstance(aniso_d, int) or isinstance(aniso_d, bool) or aniso_d < 0:
            message = (
                f"aniso_d must be an integer of at least 0 (by how many powers of two slices lie "
                f"further apart than pixels), not {aniso_d!r}"
            )
            raise UsageError(message)
        return 1 << max(self._halvings - aniso_d, 0)

    def encode(self, x: Tensor, aniso_d: int) -> Tensor:
        """float32 (B, 3, depth, height, width) -> latent before quantisation (B, D, d, h, w).

        Args:
            x: height and width multiples of `config.downsample`, depth of `depth_downsample`.
            aniso_d: by how many powers of two slices lie further apart than pixels.

        Raises:
            UsageError: `aniso_d` or a side is wrong.
        """
        side, depth = self.model.config.downsample, self.depth_downsample(aniso_d)
        multiples = (depth, side, side)
        if x.ndim != 5 or any(n % m or not n for n, m in zip(x.shape[2:], multiples, strict=True)):
            message = (
                f"a volume with aniso_d {aniso_d} must have shape (B, 3, depth, height, width) in "
                f"multiples of {multiples}, got {tuple(x.shape)}"
            )
            raise UsageError(message)
        done = 0
        for layer in self.model.encoder:
            if isinstance(layer, nn.Conv3d):
                x = _convolve(layer, x, pending=max(aniso_d - done, 0))
                done += _halvings(layer)
            else:
                x = layer(x)
        return x

    def decode(self, z: Tensor, aniso_d: int) -> Tensor:
        """Latent (B, D, d, h, w) -> volume (B, 3, depth, height, width), not clamped.

        Raises:
            UsageError: `aniso_d` is wrong.
        """
        self.depth_downsample(aniso_d)
        done = self._halvings
        for layer in self.model.decoder:
            if isinstance(layer, DoubleSide):
                z, done = _enlarge(layer.transposed_conv, z, in_depth=done - aniso_d), done - 1
                z = _convolve(layer.conv[0], z, pending=max(aniso_d - done, 0))
                z = layer.conv[1:](z)
            elif isinstance(layer, nn.ConvTranspose3d):
                z = _enlarge(layer, z, in_depth=done - aniso_d)
            elif isinstance(layer, nn.Conv3d):
                z = _convolve(layer, z, pending=max(aniso_d - done, 0))
            else:
                z = layer(z)
        return z


def _halvings(layer: nn.Conv3d) -> int:
    return layer.stride[0].bit_length() - 1


def _convolve(layer: nn.Module, x: Tensor, *, pending: int) -> Tensor:
    """A convolution where `pending` halvings of the plane are left before depth takes part."""
    assert isinstance(layer, nn.Conv3d)
    if pending == 0:
        return layer(x)
    stride = max(layer.stride[0] >> pending, 1)
    strides = (stride, *layer.stride[1:])
    assert not isinstance(layer.padding, str)
    padding = (0, *layer.padding[1:])
    return F.conv3d(x, _summed(layer.weight, stride), layer.bias, strides, padding)


def _enlarge(layer: nn.Module, z: Tensor, *, in_depth: int) -> Tensor:
    """A transposed convolution that doubles depth at most `in_depth` times."""
    assert isinstance(layer, nn.ConvTranspose3d)
    stride = min(1 << max(in_depth, 0), layer.stride[0])
    strides = (stride, *layer.stride[1:])
    return F.conv_transpose3d(z, _summed(layer.weight, stride), layer.bias, strides)


def _summed(kernel: Tensor, taps: int) -> Tensor:
    """A kernel (…, k, k, k) with neighbouring depth taps added up until `taps` are left."""
    return kernel if taps == kernel.shape[2] else kernel.unflatten(2, (taps, -1)).sum(dim=3)
