"""Planning: how many images a comparison needs, and what the ones at hand could show.

Normal approximation of the paired mean, two-sided at 5 %, power 80 % unless asked otherwise.
Source: Cohen, "Statistical power analysis for the behavioral sciences", 1988, chapter 2.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from ..errors import MetricError

LEVEL = 0.05
POWER = 0.8


def resolution(standard_error: float, *, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference that is found with the given power.

    Args:
        standard_error: of the paired difference on the images at hand.
        level: of the two-sided test, in (0, 1).
        power: chance to find it, in (0, 1).
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise MetricError(f"level and power must lie between 0 and 1, got {level} and {power}.")
    normal = NormalDist()
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * standard_error


def images_needed(
    difference: float,
    *,
    standard_error: float,
    count: int,
    level: float = LEVEL,
    power: float = POWER,
) -> int:
    """Images (of the same mix of groups and patients) that show a true difference.

    The standard error falls with the root of the number of images, so that what is known from
    `count` images carries over.

    Args:
        difference: to be found; not zero.
        standard_error: of the paired difference on `count` images.
        count: images at hand.
        level: see `resolution`.
        power: see `resolution`.

    Raises:
        MetricError: a difference of zero, which no number of images shows.
    """
    if difference == 0 or not math.isfinite(difference):
        raise MetricError(f"a difference of {difference} cannot be planned for.")
    ratio = resolution(standard_error, level=level, power=power) / abs(difference)
    return max(2, math.ceil(count * ratio**2))
