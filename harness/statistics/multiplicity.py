"""Many tests at once: Holm's step-down correction.

Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MetricError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the given order: those below a level are rejected at that level.

    The chance of even one false rejection among all stays below the level, however the tests
    depend on each other.

    Raises:
        MetricError: a p outside [0, 1].
    """
    broken = [p for p in p_values if not 0.0 <= p <= 1.0]
    if broken:
        raise MetricError(f"p values must lie in [0, 1], got {broken}.")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
