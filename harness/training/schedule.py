"""Learning-rate schedules, as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class WarmupCosine:
    """A linear warm-up, then half a cosine down to a fraction of the base rate.

    The first warm-up step has `start_fraction` of the base rate, the last step of training has
    `final_fraction` of it (the form that UniTok and MedITok train with).

    Attributes:
        base: the learning rate at the end of the warm-up.
        steps: steps of the whole training.
        warmup_steps: length of the warm-up; need not be a whole number.
        start_fraction: of `base`, at step 0.
        final_fraction: of `base`, at step `steps` - 1.
    """

    base: float
    steps: int
    warmup_steps: float = 0.0
    start_fraction: float = 0.0
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.base <= 0 or self.steps < 1 or not 0 <= self.warmup_steps < self.steps:
            message = (
                "a schedule needs a positive rate, at least one step and a warm-up shorter than "
                f"the training: base {self.base}, steps {self.steps}, warm-up {self.warmup_steps}"
            )
            raise UsageError(message)

    def rate(self, step: int) -> float:
        """The learning rate of a step counted from 0."""
        if step < self.warmup_steps:
            passed = step / self.warmup_steps
            return self.base * (self.start_fraction + (1 - self.start_fraction) * passed)
        length = max(self.steps - 1 - self.warmup_steps, 1.0)
        passed = min((step - self.warmup_steps) / length, 1.0)
        cosine = 0.5 + 0.5 * math.cos(math.pi * passed)
        return self.base * (self.final_fraction + (1 - self.final_fraction) * cosine)
