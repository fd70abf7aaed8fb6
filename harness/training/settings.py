"""What every training run has, whatever it trains."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Length, optimiser and bookkeeping of a run.

    Attributes:
        steps: optimiser steps.
        learning_rate: at the end of the warm-up.
        warmup_steps: steps of the linear warm-up.
        final_fraction: share of the learning rate that the last step has.
        weight_decay: of AdamW, on matrices and kernels.
        betas: of AdamW.
        epsilon: of AdamW.
        gradient_clip: largest norm of the whole gradient; 0 leaves it alone.
        batches_per_step: batches whose mean gradient makes one step; processes share them.
        ema_decay: of the running mean of the weights; 0 keeps none.
        seed: first key of every random draw.
        checkpoint_seconds: pause between checkpoints.
        log_every: steps between lines of the curve; each line holds their means.
        threads: CPU threads; 0 leaves torch's own choice.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    final_fraction: float = 0.0
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-6
    gradient_clip: float = 0.0
    batches_per_step: int = 1
    ema_decay: float = 0.0
    seed: int = 0
    checkpoint_seconds: float = 120.0
    log_every: int = 20
    threads: int = 0

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
        if min(self.gradient_clip, self.weight_decay, self.checkpoint_seconds, self.threads) < 0:
            message = f"no setting of a training run may be negative: {self}"
            raise UsageError(message)
