"""The training loop that every trainable model of medbench goes through."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..files import canonical_json, write_json
from . import parallel
from .checkpoint import Checkpoint, load_latest, save_checkpoint
from .curves import Curve
from .ema import WeightAverage
from .optimiser import build_optimiser
from .recipe import Recipe
from .schedule import WarmupDecay
from .settings import TrainingSettings

_LOG = logging.getLogger(__name__)


class NonFiniteLoss(UsageError):
    """A loss was NaN or infinite; the last checkpoint is kept."""


class Trainer:
    """One run: a recipe, its settings and a folder.

    The folder gets `config.json`, `curve.jsonl` and `checkpoints/`. A run that is killed at any
    moment and resumed ends, on the CPU with the same number of threads, with the same bits as an
    undisturbed one: the batch of a step follows from (seed, step), and everything else that
    matters is in the checkpoint.

    Args:
        recipe: what is trained.
        settings: for how long and how.
        output: the run's folder.
        config: the complete configuration, echoed into every checkpoint; a resumed run must have
            the same one.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: TrainingSettings,
        output: Path,
        *,
        config: Mapping[str, Any],
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.output = output
        self.config = dict(config)
        self.step = 0
        """Steps done."""
        if settings.batches_per_step % parallel.world_size():
            message = (
                f"{settings.batches_per_step} batches per step cannot be shared evenly by "
                f"{parallel.world_size()} processes"
            )
            raise UsageError(message)
        self.optimiser = build_optimiser(recipe.model, settings)
        self.schedule = WarmupDecay(
            base=settings.learning_rate,
            steps=settings.steps,
            warmup_steps=settings.warmup_steps,
            final_fraction=settings.final_fraction,
        )
        decay = settings.ema_decay
        self.average = WeightAverage(recipe.model, decay) if decay else None
        self._curve_state: Mapping[str, Any] | None = None

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.output / "checkpoints"

    def resume(self) -> bool:
        """Take up the latest checkpoint of the folder; False where there is none.

        Raises:
            UsageError: the checkpoint is of a run with another configuration.
        """
        checkpoint = load_latest(self.checkpoints)
        if checkpoint is None:
            return False
        if canonical_json(checkpoint.config) != canonical_json(self.config):
            message = (
                f"{self.output} holds a run with another configuration (see its config.json). "
                "Resume with that one, or choose another --output."
            )
            raise UsageError(message)
        self.recipe.model.load_state_dict(checkpoint.model)
        self.recipe.load_state_dict(checkpoint.state["recipe"])
        self.optimiser.load_state_dict(checkpoint.state["optimiser"])
        if self.average is not None and checkpoint.average is not None:
            self.average.weights = dict(checkpoint.average)
        self._curve_state = checkpoint.state["curve"]
        self.step = checkpoint.step
        _LOG.info("resumed at step %d of %d", self.step, self.settings.steps)
        return True

    def run(self) -> dict[str, torch.Tensor]:
        """Train to the end and return the final weights (their running mean where one is kept).

        Raises:
            NonFiniteLoss: a term was NaN or infinite.
            UsageError: the folder cannot be written.
        """
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        first = parallel.rank() == 0
        if first:
            write_json(self.output / "config.json", self.config)
        curve = Curve(
            self.output / "curve.jsonl" if first else None,
            steps=self.settings.steps,
            log_every=self.settings.log_every,
            first_step=self.step,
        )
        if self._curve_state is not None:
            curve.load_state_dict(self._curve_state)
        saved = time.monotonic()
        self.recipe.model.train()
        while self.step < self.settings.steps:
            self._do_step(curve)
            due = time.monotonic() - saved >= self.settings.checkpoint_seconds
            if first and (due or self.step == self.settings.steps):
                self._save(curve)
                saved = time.monotonic()
        if self.average is not None:
            return dict(self.average.weights)
        return {name: value.detach() for name, value in self.recipe.model.state_dict().items()}

    def _do_step(self, curve: Curve) -> None:
        step, settings = self.step, self.settings
        self.recipe.before_step(step)
        rate = self.schedule.rate(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {"learning_rate": rate}
        images = 0
        for part in range(parallel.rank(), settings.batches_per_step, parallel.world_size()):
            images += self._backward(step, part, sums)
        parallel.sum_over_processes(
            p.grad for p in self.recipe.model.parameters() if p.grad is not None
        )
        if settings.gradient_clip:
            norm = torch.nn.utils.clip_grad_norm_(
                self.recipe.model.parameters(), settings.gradient_clip
            )
            sums["gradient_norm"] = float(norm)
            if not math.isfinite(sums["gradient_norm"]):
                raise NonFiniteLoss(self._non_finite("the gradient's norm", float(norm), step))
        self.optimiser.step()
        self.recipe.after_step(step, _generator(settings.seed, step, settings.batches_per_step))
        if self.average is not None:
            self.average.update(self.recipe.model, step)
        self.step = step + 1
        curve.add(step, sums, images=images * parallel.world_size())

    def _backward(self, step: int, part: int, sums: dict[str, float]) -> int:
        """Add the gradients of one batch and its readings; return its number of images."""
        share = 1 / self.settings.batches_per_step
        losses = self.recipe.losses(step, _generator(self.settings.seed, step, part))
        for name, value in {**losses.terms, **losses.readings}.items():
            number = float(value.detach())
            if not math.isfinite(number):
                raise NonFiniteLoss(self._non_finite(name, number, step))
            sums[name] = sums.get(name, 0.0) + share * parallel.world_size() * number
        torch.stack(list(losses.terms.values())).sum().mul(share).backward()
        return losses.images

    def _non_finite(self, name: str, value: float, step: int) -> str:
        return (
            f"{name} is {value} at step {step}. The last checkpoint in {self.checkpoints} is "
            "kept; lower the learning rate or look at the data of this step."
        )

    def _save(self, curve: Curve) -> None:
        save_checkpoint(
            self.checkpoints,
            Checkpoint(
                step=self.step,
                model=self.recipe.model.state_dict(),
                average=self.average.weights if self.average is not None else None,
                state={
                    "optimiser": self.optimiser.state_dict(),
                    "recipe": self.recipe.state_dict(),
                    "curve": curve.state_dict(),
                },
                config=self.config,
            ),
        )


def _generator(seed: int, step: int, part: int) -> torch.Generator:
    """The random source of one batch: a function of its place in the run."""
    words = np.random.SeedSequence([seed, step, part]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
