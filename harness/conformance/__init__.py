"""Does a tokenizer keep the protocol? The checks of `medbench validate NAME`.

A tokenizer that passes can be run by every task; one that does not would give numbers that
depend on the batch size, on what ran before, or on a mistaken value range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import NotApplicable, ValidationFailed
from . import behaviour, contracts
from .info import check_info
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..protocol import Tokenizer

CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "info": lambda subject: check_info(subject.info),
    "encode": contracts.encode_contract,
    "indices in the codebook": contracts.codebook_range,
    "decode": contracts.decode_contract,
    "features": contracts.features_contract,
    "benchmark side": contracts.benchmark_side,
    "determinism": behaviour.determinism,
    "batch invariance": behaviour.batch_invariance,
    "no state change": behaviour.no_state_change,
    "input untouched": behaviour.input_untouched,
    "inference mode": behaviour.inference_mode,
    "decode from indices": behaviour.decode_from_indices,
    "grey input": contracts.grey_input,
    "refused sizes": contracts.refused_sizes,
    "refused shapes": contracts.refused_shapes,
    "refused values": contracts.refused_values,
}
"""One promise of the protocol each, in the order in which they run.

A check returns what it measured; it raises `ValidationFailed` where the promise is broken and
`NotApplicable` where the tokenizer by its nature makes none.
"""

CheckStatus = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    status: CheckStatus
    detail: str
    """What was measured; for a failure what was wrong, seen and to be done."""


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """The outcome of all checks of one tokenizer."""

    tokenizer: str
    """`name@variant`."""
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """No check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.status == "failed")

    def lines(self) -> list[str]:
        """One line for the whole, one for each check."""
        width = max((len(check.name) for check in self.checks), default=0)
        counts = ", ".join(
            f"{sum(check.status == status for check in self.checks)} {status}"
            for status in ("passed", "failed", "not applicable")
        )
        rows = [f"{c.status:<14}  {c.name:<{width}}  {c.detail}".rstrip() for c in self.checks]
        return [f"{self.tokenizer}: {counts}", *rows]


def validate(tokenizer: Tokenizer, *, seed: int = 0) -> ConformanceReport:
    """Run every conformance check.

    The side is the smallest accepted one from 64 pixels up, and `info.resolution` once; the
    batch has four images.

    Args:
        tokenizer: what to check, already built.
        seed: of the test images.

    Returns:
        The report; a check in which the tokenizer raises anything but `NotApplicable` failed.
    """
    subject = Subject(tokenizer, seed=seed)
    results = []
    for name, check in CHECKS.items():
        try:
            results.append(CheckResult(name, "passed", check(subject)))
        except NotApplicable as reason:
            results.append(CheckResult(name, "not applicable", str(reason)))
        except ValidationFailed as failure:
            results.append(CheckResult(name, "failed", str(failure)))
        except Exception as error:
            detail = f"raised {type(error).__name__}: {error}"
            results.append(CheckResult(name, "failed", detail))
    return ConformanceReport(tokenizer.info.full_name, tuple(results))
