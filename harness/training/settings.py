"""What every training run has, whatever it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UsageError
from ..files import canonical_json
from .schedule import WarmupDecay

Precision = Literal["fp32", "bf16", "fp16"]
BOOKKEEPING = (
    "checkpoint_seconds",
    "disk_patience_seconds",
    "log_every",
    "validate_every",
    "workers",
)
"""Settings that change no bit of the weights, and so may be others when a run is resumed."""


def same_training(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two configurations give the same weights: all but `BOOKKEEPING` is equal."""
    return canonical_json(_lasting(first)) == canonical_json(_lasting(second))


def _lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    settings = config.get("settings") or {}
    kept = {name: value for name, value in settings.items() if name not in BOOKKEEPING}
    return {**config, "settings": kept}


@dataclass(frozen=True, slots=True)
class OptimiserSettings:
    """AdamW and its learning rate.

    Attributes:
        learning_rate: at the end of the warm-up.
        warmup_steps: steps of the linear warm-up; need not be a whole number.
        final_fraction: share of the learning rate that the last step has.
        shape: of the decay; see `WarmupDecay`.
        weight_decay: on matrices and kernels.
        betas: of AdamW.
        epsilon: of AdamW.
        gradient_clip: largest norm of the whole gradient; 0 leaves it alone.
    """

    learning_rate: float
    warmup_steps: float = 0.0
    final_fraction: float = 0.0
    shape: str = "cos"
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-6
    gradient_clip: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if min(self.gradient_clip, self.weight_decay) < 0:
            message = f"gradient_clip and weight_decay must be at least 0: {self}"
            raise UsageError(message)

    def schedule(self, steps: int) -> WarmupDecay:
        """The learning rate over a run of that many steps."""
        return WarmupDecay(
            base=self.learning_rate,
            steps=steps,
            warmup_steps=self.warmup_steps,
            final_fraction=self.final_fraction,
            shape=self.shape,
        )


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Length, optimisers and bookkeeping of a run.

    Attributes:
        steps: optimiser steps.
        optimiser: of the model.
        opponent: of the discriminator, where there is one.
        batches_per_step: batches whose mean gradient makes one step.
        precision: `bf16` and `fp16` run under autocast, `fp16` with a loss scale.
        checkpoint_activations: whether activations are computed again in the backward pass, for
            less memory.
        ema_decay: of the running mean of the weights; 0 keeps none.
        seed: first key of every random draw.
        checkpoint_seconds: pause between checkpoints.
        disk_patience_seconds: how long a checkpoint that cannot be written is tried again.
        log_every: steps between lines of the curve; each line holds their means.
        validate_every: steps between validations; 0 validates at the end only.
        threads: CPU threads; 0 leaves torch's own choice.
        workers: processes that prepare batches; 0 prepares them in the training process.
    """

    steps: int
    optimiser: OptimiserSettings
    opponent: OptimiserSettings | None = None
    batches_per_step: int = 1
    precision: Precision = "fp32"
    checkpoint_activations: bool = False
    ema_decay: float = 0.0
    seed: int = 0
    checkpoint_seconds: float = 120.0
    disk_patience_seconds: float = 600.0
    log_every: int = 20
    validate_every: int = 0
    threads: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.steps < 1 or self.batches_per_step < 1 or self.log_every < 1:
            message = (
                "steps, batches_per_step and log_every must be at least 1, not "
                f"{self.steps}, {self.batches_per_step} and {self.log_every}"
            )
            raise UsageError(message)
        if not 0 <= self.ema_decay < 1:
            message = f"ema_decay must lie in [0, 1), not {self.ema_decay}"
            raise UsageError(message)
        pauses = (self.checkpoint_seconds, self.disk_patience_seconds, self.validate_every)
        if min(*pauses, self.threads, self.workers) < 0:
            message = f"no setting of a training run may be negative: {self}"
            raise UsageError(message)
        self.optimiser.schedule(self.steps)
        if self.opponent is not None:
            self.opponent.schedule(self.steps)
