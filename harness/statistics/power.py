"""Planning: how many images, or seeds, a comparison needs, and what those at hand could show.

Student's test of the paired mean, two-sided at 5 %, power 80 % unless asked otherwise; its power
follows from the noncentral t distribution, for infinite degrees of freedom from the normal one.
Source: Cohen, "Statistical power analysis for the behavioral sciences", 1988, chapter 2.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from ..errors import MetricError

LEVEL = 0.05
POWER = 0.8


def resolution(
    standard_error: float,
    *,
    degrees: float = math.inf,
    level: float = LEVEL,
    power: float = POWER,
) -> float:
    """The smallest true difference that is found with the given power.

    Args:
        standard_error: of the paired difference on the images at hand.
        degrees: of freedom of the standard error.
        level: of the two-sided test, in (0, 1).
        power: chance to find it, in (0, 1), above the level.
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise MetricError(f"level and power must lie between 0 and 1, got {level} and {power}.")
    if math.isinf(degrees):
        normal = NormalDist()
        return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * standard_error
    from scipy.special import nctdtrinc, stdtrit

    limit = stdtrit(degrees, 1 - level / 2)
    return float(nctdtrinc(degrees, 1 - power, limit)) * standard_error


def needed(
    difference: float,
    *,
    standard_error: float,
    count: int,
    degrees: float = math.inf,
    level: float = LEVEL,
    power: float = POWER,
) -> int:
    """Images (of the same mix of groups and patients), or seeds, that show a true difference.

    The variance falls with their number and the degrees of freedom grow with it, so that what is
    known from `count` carries over.

    Args:
        difference: to be found; not zero.
        standard_error: of the paired difference on `count` images or seeds.
        count: images or seeds at hand.
        degrees: of freedom of the standard error; `count` - 1 where each is a unit of its own.
        level: see `resolution`.
        power: see `resolution`.

    Raises:
        MetricError: a difference of zero, which no number of images shows.
    """
    if difference == 0 or not math.isfinite(difference):
        raise MetricError(f"a difference of {difference} cannot be planned for.")
    ratio = resolution(standard_error, level=level, power=power) / abs(difference)
    one_degree = 0 if math.isinf(degrees) else math.ceil(2 * count / (degrees + 1))
    low = max(2, one_degree, math.ceil(count * ratio**2))
    if math.isinf(degrees):
        return low

    def shows(number: int) -> bool:
        error = standard_error * math.sqrt(count / number)
        own = (degrees + 1) * number / count - 1
        return resolution(error, degrees=own, level=level, power=power) <= abs(difference)

    high = low
    while not shows(high):
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return high
