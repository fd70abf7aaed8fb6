"""Intervals for distances between sets of images (Fréchet, KID), from random halves.

The statistic is computed on 200 random halves of the images, drawn without replacement; original
and reconstruction of an image stay together. The interval is the value from *all* images ± 1.96
standard deviations over the halves.

Why there is no scale factor: for a mean, a half drawn without replacement from the n images at
hand has variance ``s²/(n/2) · (1 - (n/2)/n) = s²/n`` around the full mean, which is the variance
of the full mean itself; so it is for any statistic that is linear in the images to first order.
(For odd n the half has (n - 1)/2 images and the interval is wider by a factor of at most
1 + 1/n.) In general the variance over halves is ``Var(half) - Var(full)``. Where the first-order
term vanishes (KID of two equal distributions, whose variance falls with 1/n²), that is three times
Var(full): the interval is then too wide by √3, never too narrow.

A half has fewer images, so its Fréchet distance is biased upwards by more; the standard deviation
does not see that, and the replicates are moved so that their mean is the value. The interval is
for the expectation of the statistic *at this n*, not for its limit. Images count as independent:
with several images per patient it is too narrow.

Source: Shao, Wu, "A general theory for jackknife variance estimation", Annals of Statistics 17,
1989 (delete-d jackknife with d = n/2); Politis, Romano, Wolf, "Subsampling", 1999.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from .draws import DrawStream
from .intervals import Z_95, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HALVES = 200
RULE = "halves-1"
"""Name and version of the way to draw; part of the metric's definition, unlike the seed."""


def random_halves(
    count: int, *, fingerprint: str, stratum: str, halves: int = HALVES
) -> NDArray[np.int64]:
    """Random halves of the rows 0..count-1; the same ones for every tokenizer and metric.

    Args:
        count: number n of images in the stratum, at least 4.
        fingerprint: of the data set; see `draws.DrawStream`.
        stratum: name of the group of images, such as a modality or ``all``.
        halves: number R of halves.

    Returns:
        int64 (R, n // 2), each row sorted and without repetition.

    Raises:
        MetricError: fewer than four images.
    """
    if count < 4:
        raise MetricError(f"halves of {count} images: at least 4 are needed for two in each half.")
    stream = DrawStream(RULE, fingerprint, stratum)
    # One row at a time: the order of 36,000 images times 200 need not be in memory at once.
    rows = [stream.without_replacement(1, count, count // 2) for _ in range(halves)]
    return np.concatenate(rows)


def halves_interval(value: float, over_halves: NDArray[np.float64], count: int) -> Interval:
    """The interval ``value ± 1.96 SD``, SD over the halves (divided by R - 1).

    Args:
        value: the statistic from all images.
        over_halves: (R >= 2,), the statistic of each half from `random_halves`.
        count: number of images.

    Returns:
        The interval; the ends may leave the range of the metric (a distance below zero), which
        says that the value is not resolved from it. `replicates` are the values of the halves,
        moved to have the mean `value`.

    Raises:
        MetricError: fewer than two halves, or a value that is not finite.
    """
    over_halves = np.asarray(over_halves, dtype=np.float64)
    if over_halves.ndim != 1 or len(over_halves) < 2:
        raise MetricError(f"at least two halves are needed, got shape {over_halves.shape}.")
    if not (np.isfinite(value) and np.isfinite(over_halves).all()):
        broken = int((~np.isfinite(over_halves)).sum())
        raise MetricError(
            f"the value is {value} and {broken} of {len(over_halves)} halves are not finite."
        )
    replicates = over_halves - over_halves.mean() + value
    margin = Z_95 * float(over_halves.std(ddof=1))
    return Interval(value, value - margin, value + margin, count, count, replicates)


def macro_of_halves(parts: Sequence[Interval]) -> Interval:
    """Unweighted mean of intervals from `halves_interval`, drawn separately in each stratum.

    Replicate r of the mean is the mean of the parts' replicates r: the strata are independent.

    Raises:
        MetricError: no parts, or parts with different numbers of halves.
    """
    if not parts or len({len(part.replicates) for part in parts}) != 1:
        sizes = [len(part.replicates) for part in parts]
        raise MetricError(f"a macro mean needs parts with equally many halves, got {sizes}.")
    value = float(np.mean([part.value for part in parts]))
    replicates = np.mean([part.replicates for part in parts], axis=0)
    return halves_interval(value, replicates, sum(part.count for part in parts))
