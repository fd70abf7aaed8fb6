"""What is chosen when codes are drawn: temperature, top-k, top-p, guidance. Without torch."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from ....harness.errors import UsageError

RULE = "philox-inverse-cdf-3"
"""Name and version of the way to draw; part of the metrics' definitions."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes are chosen.

    Attributes:
        temperature: divides the logits.
        top_k: only the most likely so many; 0: all.
        top_p: only the most likely whose probabilities reach this sum; 1: all.
        cfg_scale: guidance: logits without class, plus so many times the difference that the
            class makes; 1: none.
        greedy: always the most likely one; temperature, top-k and top-p then change nothing.
        rows: images that are computed at a time, a last few filled up to as many: matrices of
            other shapes have other last bits, and these now and then another code.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    cfg_scale: float = 1.0
    greedy: bool = False
    rows: int = 32

    def __post_init__(self) -> None:
        """Refuse values that choose nothing.

        Raises:
            UsageError: see the message.
        """
        _check_kind(self, Real, "a number", "temperature", "top_p", "cfg_scale")
        _check_kind(self, Integral, "a whole number", "top_k", "rows")
        if not (self.temperature > 0 and 0 < self.top_p <= 1 and self.top_k >= 0):
            message = (
                "sampling needs a temperature above 0, top_p in (0, 1] and top_k of at least 0: "
                f"{self}. For the most likely code at every place, set greedy."
            )
            raise UsageError(message)
        if not 1 <= self.cfg_scale < float("inf"):
            message = f"cfg_scale must be finite and at least 1 (no guidance), not {self.cfg_scale}"
            raise UsageError(message)
        if self.rows < 1:
            message = f"sampling needs at least 1 of `rows`, the images at a time, not {self.rows}"
            raise UsageError(message)

    @property
    def guided(self) -> bool:
        """Whether logits without class are needed as well."""
        return self.cfg_scale != 1.0


def _check_kind(sampling: Sampling, kind: type, words: str, *names: str) -> None:
    for name in names:
        value = getattr(sampling, name)
        if isinstance(value, bool) or not isinstance(value, kind):
            message = f"{name} must be {words}, not {value!r}"
            raise UsageError(message)
