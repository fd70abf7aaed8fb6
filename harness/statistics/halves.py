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
for the expectation of the statistic *at this n*, not for its limit.

Where several images are of one patient or volume, whole patients are drawn: they are put into a
random order, their images are laid one after the other, and the first half of them is taken. At
most one patient is cut, and all halves have equally many images, on which the distance depends.
With an odd number U of patients of equal size the variance is too small by a share of 1/U.

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
RULE = "halves-2"
"""Name and version of the way to draw; part of the metric's definition, unlike the seed."""
FEWEST_UNITS = 4
"""Units of which halves still differ: with two in each."""


def random_halves(
    units: NDArray[np.int64], *, fingerprint: str, stratum: str, halves: int = HALVES
) -> NDArray[np.int64]:
    """Random halves of the rows 0..n-1; the same ones for every tokenizer and metric.

    Args:
        units: int64 (n,), number 0..U-1 of the patient or volume of each image, as
            `draws.unit_numbers` gives them; 0..n-1 where all are independent. At least 4 units.
        fingerprint: of the data set; see `draws.DrawStream`.
        stratum: name of the group of images, such as a modality or ``all``.
        halves: number R of halves.

    Returns:
        int64 (R, n // 2), each row sorted and without repetition.

    Raises:
        MetricError: fewer than four units.
    """
    count, kinds = len(units), len(np.unique(units))
    if kinds < FEWEST_UNITS:
        raise MetricError(
            f"halves of {count} images of {kinds} patients or volumes: at least {FEWEST_UNITS} "
            "are needed, for two in each half."
        )
    stream = DrawStream(RULE, fingerprint, stratum)
    found = np.empty((halves, count // 2), dtype=np.int64)
    # One row at a time: the order of 36,000 images times 200 need not be in memory at once.
    for half in found:
        order = np.argsort(stream.uniform(1, kinds)[0][units], kind="stable")
        half[:] = np.sort(order[: count // 2])
    return found


def halves_interval(
    value: float, over_halves: NDArray[np.float64], count: int, units: int | None = None
) -> Interval:
    """The interval ``value ± 1.96 SD``, SD over the halves (divided by R - 1).

    Args:
        value: the statistic from all images.
        over_halves: (R >= 2,), the statistic of each half from `random_halves`.
        count: number of images.
        units: independent units among them; as many as images where None.

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
    units = count if units is None else units
    return Interval(value, value - margin, value + margin, count, units, replicates)


def macro_of_halves(parts: Sequence[Interval], weights: Sequence[float] | None = None) -> Interval:
    """Mean of intervals from `halves_interval`, drawn separately in each stratum.

    Replicate r of the mean is the mean of the parts' replicates r: the strata are independent.

    Args:
        parts: one of each stratum.
        weights: of the parts; equal ones where None.

    Returns:
        The mean with its interval; without ends where a part has none.

    Raises:
        MetricError: no parts, or parts with different numbers of halves.
    """
    sizes = [len(part.replicates) for part in parts]
    if len(set(sizes) - {0}) > 1 or not parts:
        raise MetricError(f"a macro mean needs parts with equally many halves, got {sizes}.")
    value = float(np.average([part.value for part in parts], weights=weights))
    count, units = sum(part.count for part in parts), sum(part.units for part in parts)
    if any(part.low is None for part in parts):
        return Interval(value, None, None, count, units, np.empty(0))
    replicates = np.average([part.replicates for part in parts], axis=0, weights=weights)
    return halves_interval(value, replicates, count, units)
