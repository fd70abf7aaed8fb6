"""Shares of right answers: their intervals, and McNemar's exact test of two systems.

Resamples of answers that are nearly all right, or all wrong, hardly differ: the bootstrap interval
of a rare event is too short, and has no width where the event did not occur. Where no two answers
share a unit, Wilson's interval takes its place, and where all are right or all wrong, that of as
many trials as there are units.

Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
1927; Newcombe, "Interval estimation for the difference between independent proportions", Statistics
in Medicine 17, 1998, and Donner, Zou, "Closed-form confidence intervals for functions of the normal
mean and standard deviation", Statistical Methods in Medical Research 21, 2012 (means of shares);
McNemar, "Note on the sampling error of the difference between correlated proportions",
Psychometrika 12, 1947, in its exact (binomial) form.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..vocabulary import MACRO, POOLED
from .bootstrap import bootstrap_means
from .intervals import Z_95, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .bootstrap import Sample

RULE = "shares-1"
"""Name and version of `share_means`; part of the definitions of metrics."""


def wilson_interval(successes: float, count: int) -> Interval:
    """A share with its 95 % interval, which never leaves [0, 1] and never has no width.

    Args:
        successes: 0 .. count; not a whole number where a trial is a mean in [0, 1], whose variance
            is never above that of a trial that is 0 or 1 of the same mean.
        count: independent trials; at least one.

    Raises:
        MetricError: no trials, or more successes than trials.
    """
    if count < 1 or not 0 <= successes <= count:
        raise MetricError(f"{successes} successes in {count} trials are no share.")
    share, z2 = successes / count, Z_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    inside = share * (1 - share) / count + z2 / (4 * count**2)
    margin = Z_95 * math.sqrt(inside) / (1 + z2 / count)
    low = 0.0 if successes == 0 else centre - margin
    high = 1.0 if successes == count else centre + margin
    return Interval(share, low, high, count, count, np.empty(0))


def share_interval(resampled: Interval, answers: NDArray[np.float64]) -> Interval:
    """A share with the interval of the resamples, or with Wilson's where that is the better one.

    Args:
        resampled: of the bootstrap over units; its replicates stay.
        answers: (n,), 0 or 1 each, or in between, where resamples spread unless all are 0 or all 1.
    """
    share, units = resampled.value, resampled.units
    alone = units == resampled.count and bool(np.isin(answers, (0.0, 1.0)).all())
    if not alone and share not in (0.0, 1.0):
        return resampled
    exact = wilson_interval(round(share * units), units)
    return replace(resampled, low=exact.low, high=exact.high)


def share_means(answers: NDArray[np.float64], sample: Sample) -> dict[str, Interval]:
    """`bootstrap_means` of answers that are right (1) or wrong (0), with the ends of shares.

    Raises:
        MetricError: as `bootstrap_means`.
    """
    answers = np.asarray(answers, dtype=np.float64)
    found = bootstrap_means(answers, sample)
    ends = {
        name: share_interval(found[name], answers[units.rows])
        for name, units in sample.units().items()
    }
    pooled, macro = share_interval(found[POOLED], answers), found[MACRO]
    return ends | {POOLED: pooled, MACRO: mean_of_shares(macro, list(ends.values()))}


def mean_of_shares(mean: Interval, parts: Sequence[Interval]) -> Interval:
    """The unweighted mean of independent shares, with ends that the ends of its parts give.

    The distance to an end is the root of the sum of the parts' squared ones, over their number.

    Args:
        mean: of the parts; its value and its replicates stay.
        parts: shares with their intervals. Without ends where one has none.
    """
    lows = [part.value - part.low for part in parts if part.low is not None]
    highs = [part.high - part.value for part in parts if part.high is not None]
    if len(lows) < len(parts) or len(highs) < len(parts):
        return replace(mean, low=None, high=None)
    down, up = math.hypot(*lows) / len(parts), math.hypot(*highs) / len(parts)
    return replace(mean, low=mean.value - down, high=mean.value + up)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two systems are right equally often.

    Args:
        only_first: questions that only the first system answers rightly.
        only_second: questions that only the second one does.

    Raises:
        MetricError: a negative count.
    """
    if only_first < 0 or only_second < 0:
        raise MetricError(f"counts must not be negative, got {only_first} and {only_second}.")
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total))
