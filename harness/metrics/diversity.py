"""MS-SSIM diversity of a set of images: one minus the mean MS-SSIM of all distinct pairs.

The score of a pair is that of `ms_ssim`, the clipping and the product per channel included: for
unrelated images the contrast-structure term is often negative, and another rule is up to 0.1
away. It has no meaning alone (noise scores highest): print the same of real images beside it.

Everything that depends on one image only (its halved copies, their windowed means and variances)
is computed once per image; a pair then costs one filtered product per scale. With numba (the extra
`fast`) many pairs are compared by a compiled loop: the same within 1e-7, several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import MetricError
from .image_pairs import check_image_pairs
from .ms_ssim import SCALE_WEIGHTS, SMALLEST_SIDE
from .packed_pairs import C1, C2
from .ssim import GAUSSIAN_WINDOW

if TYPE_CHECKING:
    from numpy.typing import NDArray


_STRIP = 256
"""Rows of a larger plane that are compared at a time: all of it then stays in a core's cache."""
_SMALL = 128 * 128
"""Pixels of a plane up to which the three of an image are compared together."""
_REACH = len(GAUSSIAN_WINDOW) - 1
_MIDDLE = GAUSSIAN_WINDOW[_REACH // 2]
_RATIOS = [weight / _MIDDLE for weight in GAUSSIAN_WINDOW]
"""Taps in units of the middle one: a sum then starts with one addition, and what is known of each
image is brought to these units once and not per pair."""
_C2 = C2 / 2 / _MIDDLE**2
"""Half of C2 in these units."""


@dataclass(frozen=True, slots=True)
class _Area:
    """A part of all images that is compared at a time: P planes of H rows and W columns."""

    scale: int
    planes: slice
    rows: slice
    shape: tuple[int, int, int]

    @property
    def valid(self) -> tuple[int, int, int]:
        """Planes, rows and columns where the window lies inside."""
        return (self.shape[0], self.shape[1] - _REACH, self.shape[2] - _REACH)


_MANY = 1000
"""Pairs from which on compiling pays."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One image in one area; (P, h, w) but for the first two."""

    flat: Tensor
    """Each plane about its own mean, (P H W,)."""
    maps: Tensor
    """The three that follow, (3, P, h, w)."""
    mean: Tensor
    """Windowed mean of the same, divided by the middle tap's weight."""
    variance: Tensor
    """Windowed variance plus half of C2, divided by twice the square of that weight."""
    level: Tensor
    """Windowed mean of the planes as they are."""


def diversity(images: NDArray[np.uint8]) -> float:
    """One minus the mean MS-SSIM over all n(n-1)/2 pairs.

    Args:
        images: uint8 (n, H, W, 3), sides of at least 161 pixels, n of at least 2.

    Returns:
        Within [0, 1]; higher is more diverse.

    Raises:
        MetricError: fewer than two images, another type or shape, or sides under 161 pixels.
    """
    return 1.0 - float(pair_scores(images).mean())


@torch.inference_mode()
def pair_scores(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """MS-SSIM of all distinct pairs (0, 1), (0, 2), ... (n-2, n-1), float64 (n(n-1)/2,).

    Raises:
        MetricError: see `diversity`.
    """
    check_image_pairs(images, images, smallest_side=SMALLEST_SIDE)
    if len(images) < 2:
        message = "diversity is a mean over pairs: at least two images are needed, got 1."
        raise MetricError(message)
    areas = _areas(*images.shape[1:3])
    parts = [_parts(images[row : row + 1], areas) for row in range(len(images))]
    first, second = np.triu_indices(len(images), 1)
    means = np.zeros((len(first), len(SCALE_WEIGHTS), 3))
    counts = np.zeros(len(SCALE_WEIGHTS))
    for number, area in enumerate(areas):
        compare = _comparison(area, pairs=len(first))
        for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            means[pair, area.scale, area.planes] += compare(parts[i][number], parts[j][number])
        counts[area.scale] += area.valid[1] * area.valid[2] * (area.planes.start == 0)
    means /= counts[:, None]
    scores = (means.clip(0.0) ** np.array(SCALE_WEIGHTS)[:, None]).prod(axis=1).mean(axis=1)
    # Rounding can lead past 1 by 1e-8.
    return scores.clip(0.0, 1.0)


def _areas(height: int, width: int) -> list[_Area]:
    """All areas of images of that size; large planes in strips, small ones together."""
    areas = []
    for scale in range(len(SCALE_WEIGHTS)):
        valid = height - _REACH
        together = 3 if height * width <= _SMALL else 1
        for start in range(0, valid, _STRIP):
            rows = slice(start, min(start + _STRIP, valid) + _REACH)
            shape = (together, rows.stop - rows.start, width)
            areas += [
                _Area(scale, slice(first, first + together), rows, shape)
                for first in range(0, 3, together)
            ]
        height, width = -(-height // 2), -(-width // 2)
    return areas


def _parts(image: NDArray[np.uint8], areas: list[_Area]) -> list[_Part]:
    """What one image (1, H, W, 3) contributes to any pair, area by area."""
    x = torch.from_numpy(image.copy()).permute(0, 3, 1, 2).contiguous().float()
    found = []
    for scale in range(len(SCALE_WEIGHTS)):
        # Float32 squares keep more digits near zero; (co)variances do not change with an offset.
        middle = x.mean(dim=(-2, -1), keepdim=True)
        centred = x - middle
        mean, variance = _windowed(torch.cat([centred, centred * centred], dim=1)).split(3, dim=1)
        variance = variance - mean * mean
        variance.div_(2 * _MIDDLE**2).add_(_C2 / 2)
        maps = (mean / _MIDDLE, variance, mean + middle)
        for area in areas:
            if area.scale == scale:
                inside = slice(area.rows.start, area.rows.stop - _REACH)
                flat = centred[0, area.planes, area.rows].flatten()
                own = torch.stack([each[0, area.planes, inside] for each in maps])
                found.append(_Part(flat, own, *own))
        # An odd side gets a zero row in front that counts in the mean, as in `ms_ssim`.
        x = F.avg_pool2d(x, 2, padding=[side % 2 for side in x.shape[-2:]])
    return found


def _windowed(maps: Tensor) -> Tensor:
    """(1, C, H, W) -> (1, C, h, w): the weighted mean where the window lies inside."""
    channels = maps.shape[1]
    taps = torch.tensor(GAUSSIAN_WINDOW).expand(channels, 1, 1, -1)
    # Depthwise convolutions of this layout are several times faster on CPUs.
    x = maps.contiguous(memory_format=torch.channels_last)
    x = F.conv2d(x, taps.contiguous(), groups=channels)
    return F.conv2d(x, taps.transpose(2, 3).contiguous(), groups=channels)


def _comparison(area: _Area, *, pairs: int) -> Callable[[_Part, _Part], NDArray[np.float64]]:
    """What compares two images in one area."""
    if pairs < _MANY:
        return _Comparison(area)
    try:
        from .compiled_pairs import add_area
    except ImportError:
        return _Comparison(area)
    ratios = np.array(_RATIOS[: _REACH // 2], np.float32)
    luminance = C1 if area.scale == len(SCALE_WEIGHTS) - 1 else -1.0
    constants = np.array([_C2, luminance], np.float32)
    rows = np.zeros((_REACH + 2, area.shape[2]), np.float32)

    def compare(x: _Part, y: _Part) -> NDArray[np.float64]:
        one, other = (each.flat.view(area.shape).numpy() for each in (x, y))
        sums = np.zeros(area.shape[0])
        add_area(one, other, x.maps.numpy(), y.maps.numpy(), ratios, constants, rows, sums)
        return sums

    return compare


class _Comparison:
    """Contrast and structure of two images in one area, in buffers that are used again.

    Rows lie one after the other in memory, so that a shift along a row is a shift of the whole
    buffer by one, and a shift between rows one by W: every step runs over contiguous memory.
    What wraps from one row or plane into the next ends outside the valid region.
    """

    def __init__(self, area: _Area) -> None:
        planes, height, width = area.shape
        self._area = area
        self._product, along, across = torch.zeros(3, planes * height * width)
        self._shifts = [_views(self._product, 1, along), _views(along, width, across)]
        _, rows, columns = area.valid
        self._filtered = across.view(area.shape)[:, :rows, :columns]
        self._top, self._bottom = torch.zeros(2, *area.valid)

    def __call__(self, x: _Part, y: _Part) -> NDArray[np.float64]:
        """Its sum over the area, (P,), with the luminance where the scale is the last."""
        torch.mul(x.flat, y.flat, out=self._product)
        for views, total in self._shifts:
            middle = _REACH // 2
            torch.add(views[middle], views[0], alpha=_RATIOS[0], out=total)
            for tap in range(1, len(views)):
                if tap != middle:
                    total.add_(views[tap], alpha=_RATIOS[tap])
        torch.addcmul(self._filtered, x.mean, y.mean, value=-1.0, out=self._top)
        torch.add(x.variance, y.variance, out=self._bottom)
        self._top.add_(_C2).div_(self._bottom)
        if self._area.scale == len(SCALE_WEIGHTS) - 1:
            a, b = x.level, y.level
            self._top.mul_((2.0 * a * b + C1).div_((a * a).add_(b * b).add_(C1)))
        return self._top.sum(dim=(1, 2)).double().numpy()


def _views(source: Tensor, stride: int, target: Tensor) -> tuple[list[Tensor], Tensor]:
    """A view of `source` for every tap, and the part of `target` that holds their sum."""
    length = len(source) - _REACH * stride
    return [source[tap * stride :][:length] for tap in range(_REACH + 1)], target[:length]
