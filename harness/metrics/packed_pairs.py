"""Local similarity of image pairs, with the channels of several images innermost in memory.

A separable window is then a depthwise convolution whose inner loop runs over 24 neighbouring
numbers, which a CPU's vector units take at once: several times faster than windows on planes,
whose neighbours along a row overlap.

Instead of x and y, their sum u and difference v are filtered. With U, V the local means and A, B
the local variances of u and v, the two factors of SSIM are ``(U² - V² + 2 C1) / (U² + V² + 2 C1)``
and ``(A - B + 2 C2) / (A + B + 2 C2)``: a copy has V = B = 0 and scores exactly 1, and rounding
errors of A and B, which come from large squares, cancel where the images are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .image_pairs import DATA_RANGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

K1, K2 = 0.01, 0.03
C1, C2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
CHUNK = 8
"""Images whose channels are packed together: 24 numbers."""
_STRIP = 64
"""Rows of results at a time: what belongs to them stays in the cache."""
_SAMPLED = 16
"""Every 16th row and column tells the offsets: any number near the mean would do."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """Means over all positions where the window lies inside the image, float64 (n, 3) each.

    Attributes:
        structure: of contrast times structure, ``(2 σxy + C2) / (σx² + σy² + C2)``.
        whole: of that times luminance: SSIM of each image and channel.
    """

    structure: Tensor
    whole: Tensor


@dataclass(frozen=True, slots=True)
class PackedPairs:
    """Sums and differences of n image pairs, float32 (H, W, 3 n), values of uint8 images."""

    total: Tensor
    difference: Tensor

    def halved(self) -> PackedPairs:
        """2×2 averages; an odd side gets a zero row in front that counts in the mean."""
        return PackedPairs(_halve(self.total), _halve(self.difference))

    def similarity(self, window: tuple[float, ...], *, sample: bool = False) -> Similarity:
        """Similarity under a separable symmetric window.

        Args:
            window: the taps of one axis; no side may be shorter.
            sample: sample (co)variances (divided by n - 1) instead of population ones.
        """
        size = len(window)
        height, width, channels = self.total.shape
        sums = torch.zeros(2, channels, dtype=torch.float64)
        for structure, luminance in self._strips(window, sample):
            # A strip's few rows in float32: a float64 copy of all would be a quarter of the time.
            sums[0] += structure.sum(0).sum(0, dtype=torch.float64)
            sums[1] += luminance.mul_(structure).sum(0).sum(0, dtype=torch.float64)
        positions = (height - size + 1) * (width - size + 1)
        means = (sums / positions).view(2, -1, 3)
        return Similarity(structure=means[0], whole=means[1])

    def ssim_map(self, window: tuple[float, ...]) -> Tensor:
        """SSIM at every position where the window fits, mean over RGB: float32 (h, w, n)."""
        strips = [lum.mul_(structure) for structure, lum in self._strips(window, sample=False)]
        return torch.cat(strips).unflatten(2, (-1, 3)).mean(dim=3)

    def _strips(self, window: tuple[float, ...], sample: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Maps of contrast times structure, and of luminance, a strip of rows at a time."""
        size = len(window)
        scale = size**2 / (size**2 - 1) if sample else 1.0
        offsets = [each[::_SAMPLED, ::_SAMPLED].mean((0, 1)) for each in self._both]
        last = len(self.total) - size + 1
        for start in range(0, last, _STRIP):
            rows = slice(start, min(start + _STRIP, last) + size - 1)
            (u, a), (v, b) = (
                _moments(each[rows], offset, window)
                for each, offset in zip(self._both, offsets, strict=True)
            )
            a.mul_(scale).add_(2.0 * C2)
            b.mul_(scale)
            structure = (a - b).div_(a.add_(b))
            u.square_().add_(2.0 * C1)
            v.square_()
            yield structure, (u - v).div_(u.add_(v))

    @property
    def _both(self) -> tuple[Tensor, Tensor]:
        return self.total, self.difference


def packed_pairs(
    reference: NDArray[np.uint8], candidate: NDArray[np.uint8]
) -> Iterator[tuple[slice, PackedPairs]]:
    """Pairs in chunks: which rows, and their packed images, which last until the next chunk.

    Args:
        reference: uint8 (N, H, W, 3).
        candidate: uint8 (N, H, W, 3).
    """
    total = difference = y = torch.empty(0)
    for start in range(0, len(reference), CHUNK):
        rows = slice(start, start + CHUNK)
        packed = _pack(reference[rows])
        if packed.shape != total.shape:  # the first chunk, or a shorter last one
            # In memory that is new to the process the conversion takes twice as long.
            total, difference, y = (torch.empty(packed.shape) for _ in range(3))
        x = difference.copy_(packed)
        y.copy_(_pack(candidate[rows]))
        torch.add(x, y, out=total)
        yield rows, PackedPairs(total, x.sub_(y))


def _pack(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, H, W, 3) -> uint8 (H, W, 3 n)."""
    count, height, width, _ = images.shape
    # Pixels move as one item of three bytes: half the time of moving bytes.
    pixels = np.ascontiguousarray(images).view("V3")[..., 0]
    packed = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return torch.from_numpy(packed.view(np.uint8).reshape(height, width, 3 * count))


def _moments(maps: Tensor, offset: Tensor, window: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Local mean and population variance of (h, W, C) maps."""
    # Variances do not change with an offset, and squares keep more digits near zero.
    centred = maps - offset
    mean = _filter(centred, window)
    variance = _filter(centred.square_(), window).addcmul_(mean, mean, value=-1.0)
    return mean.add_(offset), variance


def _filter(maps: Tensor, window: tuple[float, ...]) -> Tensor:
    """(h, W, C) -> (h - S + 1, W - S + 1, C): weighted means under the window."""
    channels, size = maps.shape[2], len(window)
    taps = torch.tensor(window, dtype=torch.float32).expand(channels, 1, size)
    # The leading axis comes first: only so torch sees that memory is channels-last already.
    images = maps[None].permute(0, 3, 1, 2)
    along_rows = F.conv2d(images, taps.unsqueeze(2).contiguous(), groups=channels)
    both = F.conv2d(along_rows, taps.unsqueeze(3).contiguous(), groups=channels)
    return both[0].permute(1, 2, 0)


def _halve(maps: Tensor) -> Tensor:
    padding = [side % 2 for side in maps.shape[:2]]
    images = maps[None].permute(0, 3, 1, 2)
    return F.avg_pool2d(images, kernel_size=2, padding=padding)[0].permute(1, 2, 0)
