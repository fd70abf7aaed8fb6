"""A value with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Level of every interval in medbench."""

Z_95 = 1.96
"""Half-width of a central 95 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """A metric value, its 95 % interval and the replicates behind it.

    Attributes:
        value: the value from all images.
        low: lower end; None where the data carry no information on the spread (one unit only).
        high: upper end; None where `low` is.
        count: images behind the value.
        units: independent units behind it: patients or volumes where known, else images.
        replicates: float64 (R,). Replicate r of two tokenizers on the same data comes from the
            same draw, so differences of replicates are paired. Empty where `low` is None.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    units: int
    replicates: NDArray[np.float64]
