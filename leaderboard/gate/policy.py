"""What a gate looks at, and how sure it must be: `gate.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ...harness.documents import load_yaml
from ...harness.errors import UsageError
from ...harness.tables import Column
from ...harness.vocabulary import METRICS


class Policy(BaseModel):
    """The rules of a gate; everything has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    """Chance of a false alarm per comparison, over all its metrics together."""
    metrics: list[str] | None = None
    """`psnr`, or `map[mean lp-val]`; None: every ranked metric, measured its main way."""
    groups: Literal["overall", "modalities"] | list[str] = "modalities"
    """`overall`: the macro value where there is one, else the pooled one. `modalities`: also each
    group of at least ten images that has per-image rows. Or a list of groups."""
    minimum_effect: dict[str, float] = Field(default_factory=dict)
    """By metric, in its unit; smaller losses pass. Default: the last digit that tables show."""
    noise: dict[str, float] = Field(default_factory=dict)
    """Standard deviation between repeats by metric, where it is known from elsewhere."""
    missing: Literal["refuse", "report"] = "refuse"
    """What a cell of the baseline that was not measured anew leads to."""
    pairs: dict[str, str] = Field(default_factory=dict)
    """Baseline's tokenizer -> its name in the new results, where the two differ."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: list[str] | None) -> list[str] | None:
        for text in metrics or ():
            name = Column.parse(text).metric
            if name not in METRICS:
                message = f"unknown metric {name!r}; known: {', '.join(METRICS)}"
                raise ValueError(message)
            if METRICS[name].direction == "none":
                message = f"{name} has no better direction, so that it cannot get worse"
                raise ValueError(message)
        return metrics

    @field_validator("minimum_effect", "noise")
    @classmethod
    def _amounts(cls, amounts: dict[str, float]) -> dict[str, float]:
        for name, amount in amounts.items():
            if name not in METRICS:
                message = f"unknown metric {name!r}; known: {', '.join(METRICS)}"
                raise ValueError(message)
            if not 0 <= amount < float("inf"):
                message = f"{name}: {amount} is not an amount (zero or more)"
                raise ValueError(message)
        return amounts

    def columns(self) -> list[Column]:
        """The metrics looked at."""
        if self.metrics is not None:
            return [Column.parse(text) for text in self.metrics]
        return [Column(n) for n, f in METRICS.items() if f.ranked and f.direction != "none"]

    def effect(self, metric: str) -> float:
        """The smallest loss that counts, in the metric's unit."""
        return self.minimum_effect.get(metric, 10.0 ** -METRICS[metric].digits)


def read_policy(path: Path | None) -> Policy:
    """The policy of a file; the default one for None.

    Raises:
        UsageError: unreadable, or with a key or value that a policy has not.
    """
    if path is None:
        return Policy()
    try:
        content = load_yaml(path)
        return Policy.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"{path}: {place}: {first['msg']}. Keys: {', '.join(Policy.model_fields)}"
        raise UsageError(message) from error
    except (OSError, ValueError) as error:
        message = f"{path} is not a readable policy: {error}"
        raise UsageError(message) from error
