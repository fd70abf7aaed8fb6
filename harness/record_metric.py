"""One measured value of a record, and the definition that says exactly what it is."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic.dataclasses import dataclass

from .files import hash_value
from .vocabulary import METRICS, SETTING, Direction

CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Unknown keys and numbers that are not finite are refused, in every part of a record."""

_PLAUSIBLE = 1e12
"""No metric is larger: what is, comes of a broken or a hostile record, and overflows in means."""

Plausible = Annotated[float, Field(ge=-_PLAUSIBLE, le=_PLAUSIBLE)]
Count = Annotated[int, Field(ge=0, le=int(_PLAUSIBLE))]
"""Of images, parameters, threads …; JSON's integers have no end, those of the downloads do."""


def _packed(values: list[float]) -> array[float]:
    """Eight bytes a number instead of 32: boards hold thousands of records."""
    return array("d", values)


Replicates = Annotated[list[Plausible], AfterValidator(_packed), PlainSerializer(list)]
"""Read and written as a list of numbers, held as an array of them."""


class Definition(BaseModel):
    """Everything that changes a metric's number, by name."""

    model_config = CLOSED | ConfigDict(frozen=True)

    id: str
    """Short and readable: `psnr-rgb-u8-1`."""
    facts: dict[str, Any]
    """Resize, rounding, formula, extractor and its weights, split, limit, seed rule …"""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over id and facts."""
        return hash_value([self.id, self.facts])[:16]


@lru_cache(maxsize=4096)
def known_hash(definition: str) -> str:
    """Hash of a definition's JSON text: thousands of records share a few definitions."""
    return Definition.model_validate_json(definition).hash


@dataclass(frozen=True, slots=True, config=CLOSED)
class Metric:
    """One value of one group, or its absence with the reason.

    A dataclass with slots, since a large board holds a million of them.
    """

    name: str
    group: str
    value: float | None
    n: Count
    """Images (or positions, questions …) that the value rests on."""
    direction: Direction
    definition: str
    """Definition id; the facts are in the record's `definitions`."""
    definition_hash: str
    setting: str = ""
    """Which of several ways to measure it, where a task has more than one; empty: the main one."""
    low: Plausible | None = None
    """Lower end of the 95 % interval."""
    high: Plausible | None = None
    unit: str = ""
    replicates: Replicates | None = None
    """Values of the common resamples, for ranked macro metrics, or of common seeds."""
    flags: list[str] = field(default_factory=list)
    """`rank-deficient`, `contains training images` …"""
    reason: str | None = None
    """Why the value is absent."""

    @model_validator(mode="after")
    def _legal(self) -> Metric:
        # The order of the questions matters: a large site asks them a million times.
        facts = METRICS.get(self.name)
        if facts is None:
            message = f"unknown metric {self.name!r}"
            raise ValueError(message)
        if self.setting and not SETTING.fullmatch(self.setting):
            message = f"setting {self.setting!r} is not of the form {SETTING.pattern}"
            raise ValueError(message)
        value, low, high = self.value, self.low, self.high
        if value is None:
            if not self.reason:
                message = f"{self.name}/{self.group}: absent without a reason"
                raise ValueError(message)
        elif not facts.low <= value <= facts.high:
            message = f"{self.name}/{self.group}: {value} outside {facts.low}..{facts.high}"
            raise ValueError(message)
        elif not -_PLAUSIBLE <= value <= _PLAUSIBLE:
            message = f"{self.name}/{self.group}: {value} is implausibly large"
            raise ValueError(message)
        elif low is not None and high is not None and low > high:
            message = f"{self.name}/{self.group}: interval from {low} up to {high}"
            raise ValueError(message)
        return self


def metric_of(
    name: str,
    group: str,
    definition: Definition,
    *,
    setting: str = "",
    value: float | None = None,
    n: int = 0,
    low: float | None = None,
    high: float | None = None,
    replicates: Iterable[float] | None = None,
    flags: Sequence[str] = (),
    reason: str | None = None,
) -> Metric:
    """A value under its definition, with the unit and direction that the vocabulary has for it.

    The arguments are fields of `Metric`; replicates are kept with seven digits.
    """
    facts = METRICS[name]
    kept = [] if replicates is None else [float(f"{each:.7g}") for each in replicates]
    return Metric(
        name=name,
        group=group,
        setting=setting,
        value=value,
        low=low,
        high=high,
        n=n,
        unit=facts.unit,
        direction=facts.direction,
        definition=definition.id,
        definition_hash=definition.hash,
        replicates=kept or None,
        flags=list(flags),
        reason=reason,
    )
