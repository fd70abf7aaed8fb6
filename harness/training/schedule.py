"""Learning-rate schedules, as functions of the step."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import UsageError

_PLATEAU = re.compile(r"lin(0\.\d+)")
_SHAPES = "cos, lin, lin0, lin00, lin0.T (such as lin0.3), exp"


@dataclass(frozen=True, slots=True)
class WarmupDecay:
    """A linear warm-up, then a decay to a fraction of the base rate.

    The first warm-up step has `start_fraction` of the base rate, the last step of training has
    `final_fraction` of it (the form that UniTok and MedITok train with).

    Attributes:
        base: the learning rate at the end of the warm-up.
        steps: steps of the whole training.
        warmup_steps: length of the warm-up; need not be a whole number.
        start_fraction: of `base`, at step 0.
        final_fraction: of `base`, at step `steps` - 1.
        shape: `cos` half a cosine; `lin00` a straight line; `lin` and `lin0` a plateau over the
            first 15 % or 5 %, then a line; `exp` a plateau of 15 %, then an exponential; `lin0.T`
            a gentle line up to the fraction T of the decay, then a steeper one.
    """

    base: float
    steps: int
    warmup_steps: float = 0.0
    start_fraction: float = 0.0
    final_fraction: float = 0.0
    shape: str = "cos"

    def __post_init__(self) -> None:
        if self.base <= 0 or self.steps < 1 or not 0 <= self.warmup_steps < self.steps:
            message = (
                "a schedule needs a positive rate, at least one step and a warm-up shorter than "
                f"the training: base {self.base}, steps {self.steps}, warm-up {self.warmup_steps}"
            )
            raise UsageError(message)
        known = self.shape in {"cos", "lin", "lin0", "lin00", "exp"}
        if not known and _PLATEAU.fullmatch(self.shape) is None:
            message = f"unknown shape of a schedule {self.shape!r}; known: {_SHAPES}"
            raise UsageError(message)
        if self.shape == "exp" and self.final_fraction <= 0:
            message = "an exponential schedule needs a final fraction above 0"
            raise UsageError(message)

    def rate(self, step: int) -> float:
        """The learning rate of a step counted from 0."""
        if step < self.warmup_steps:
            passed = step / self.warmup_steps
            return self.base * (self.start_fraction + (1 - self.start_fraction) * passed)
        length = max(self.steps - 1 - self.warmup_steps, 1.0)
        passed = min((step - self.warmup_steps) / length, 1.0)
        return self.base * _decay(self.shape, passed, self.final_fraction)


def _decay(shape: str, passed: float, final: float) -> float:
    """Fraction of the base rate when the share `passed` of the decay is over."""
    if shape == "cos":
        return final + (1 - final) * (0.5 + 0.5 * math.cos(math.pi * passed))
    named = {"lin": 0.15, "lin0": 0.05, "lin00": 0.0, "exp": 0.15}.get(shape)
    plateau = float(shape.removeprefix("lin")) if named is None else named
    left = (1 - passed) / (1 - plateau)
    if named is None:
        # The line before the knee ends halfway between the base rate and the straight line.
        knee = (1 + final + (1 - final) * (1 - plateau)) / 2
        if passed < plateau:
            return 1 + (knee - 1) * passed / plateau
        return final + (knee - final) * left
    if passed < plateau:
        return 1.0
    if shape == "exp":
        return final ** (1 - left)
    return final + (1 - final) * left
