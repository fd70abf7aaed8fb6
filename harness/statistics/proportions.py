"""Shares of right answers: Wilson's interval, and McNemar's exact test of two systems.

Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
1927; McNemar, "Note on the sampling error of the difference between correlated proportions",
Psychometrika 12, 1947, in its exact (binomial) form.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import MetricError
from .intervals import Z_95, Interval


def wilson_interval(successes: int, count: int) -> Interval:
    """A share with its 95 % interval, which never leaves [0, 1] and never has no width.

    Args:
        successes: 0 .. count.
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
