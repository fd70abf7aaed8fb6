"""The training loop that every trainable model of medbench goes through."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import MedbenchError, RunAgain, UsageError
from ..files import write_json
from . import parallel
from .checkpoint import Checkpoint, load_latest, place_of, save_patiently
from .draws import batch_generator, own_draws
from .ema import WeightAverage
from .engine import Engine
from .feed import NoBatch, next_batch
from .journal import Journal
from .opposing import Opposing
from .optimiser import build_optimiser, set_rate
from .readings import Means, NonFiniteLoss, check_finite
from .recipe import Recipe
from .settings import BOOKKEEPING, TrainingSettings, same_training
from .stopping import StopRequest

_LOG = logging.getLogger(__name__)


class Interrupted(RunAgain):
    """The run was asked to stop, and stopped after a checkpoint."""


class Trainer:
    """One run: a recipe, its settings and a folder.

    The folder gets `config.json`, `checkpoints/` and what `Journal` writes. A run that is killed
    at any moment and resumed ends, on the CPU with the same number of threads, with the same bits
    as an undisturbed one: the batches of a step follow from the seed and the step, and everything
    else that matters is in the checkpoint.

    Args:
        recipe: what is trained.
        settings: for how long and how.
        output: the run's folder.
        config: the complete configuration, echoed into every checkpoint; a resumed run must have
            the same one, but for the settings that are `BOOKKEEPING`.
        device: torch device.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: TrainingSettings,
        output: Path,
        *,
        config: Mapping[str, Any],
        device: str = "cpu",
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.output = output
        self.config = dict(config)
        self.step = 0
        """Steps done."""
        self.seconds = 0.0
        """Spent in steps, those before a resume included."""
        optimiser = build_optimiser(recipe.model, settings.optimiser, recipe.rate_scale)
        self.engine = Engine(recipe, optimiser, precision=settings.precision, device=device)
        self.schedule = settings.optimiser.schedule(settings.steps)
        self._opposing = (
            Opposing(recipe.opponent, settings) if recipe.opponent is not None else None
        )
        decay = settings.ema_decay
        self.average = WeightAverage(recipe.model, decay) if decay else None
        recipe.average = self.average
        self._journal_state: Mapping[str, Any] | None = None

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
        if not same_training(checkpoint.config, self.config):
            message = (
                f"{self.output} holds a run with another configuration (see its config.json). "
                f"Resume with that one (only {', '.join(BOOKKEEPING)} may be others), or choose "
                "another --output."
            )
            raise UsageError(message)
        state = checkpoint.state
        if state.get("fingerprint", self.recipe.fingerprint) != self.recipe.fingerprint:
            message = (
                f"{self.output} holds a run on another list of images: {state['fingerprint']}, now "
                f"{self.recipe.fingerprint}. Resume with the very list, in which damaged files may "
                "be mended, or choose another --output."
            )
            raise UsageError(message)
        self.recipe.model.load_state_dict(checkpoint.model)
        self.recipe.load_state_dict(state["recipe"])
        self.engine.load_state_dict(state["engine"])
        if self._opposing is not None:
            self._opposing.load_state_dict(state["opposing"])
        if self.average is not None and checkpoint.average is not None:
            self.average.load_state_dict(checkpoint.average)
        self._journal_state = state["journal"]
        self.step, self.seconds = checkpoint.step, float(state["seconds"])
        _LOG.info("resumed at step %d of %d", self.step, self.settings.steps)
        return True

    def run(self) -> dict[str, torch.Tensor]:
        """Train to the end and return the final weights (their running mean where one is kept).

        Raises:
            NonFiniteLoss: a term was NaN or infinite.
            Interrupted: SIGTERM came.
            UsageError: the folder cannot be written, or too many images cannot be read.
        """
        settings = self.settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        first = parallel.rank() == 0
        if first:
            write_json(self.output / "config.json", self.config)
        journal = Journal(
            self.output if first else None,
            steps=settings.steps,
            log_every=settings.log_every,
            first_step=self.step,
        )
        if self._journal_state is not None:
            journal.load_state_dict(self._journal_state)
        self.recipe.model.train()
        batches = self.recipe.batches(self.step)
        saved = time.monotonic()
        with StopRequest() as request, journal:
            while self.step < settings.steps:
                self._do_step(batches, journal)
                last = self.step == settings.steps
                if last or (settings.validate_every and self.step % settings.validate_every == 0):
                    self._validate(journal)
                due = time.monotonic() - saved >= settings.checkpoint_seconds
                stop = request.made()
                if due or last or stop:
                    self._save(journal)
                    saved = time.monotonic()
                if stop and not last:
                    parallel.wait_for_all()
                    message = f"stopped after step {self.step}; go on with --resume"
                    raise Interrupted(message)
        return self.final_weights()

    def final_weights(self) -> dict[str, torch.Tensor]:
        """The weights to use: their running mean where one is kept."""
        if self.average is not None:
            return dict(self.average.weights)
        return {name: value.detach() for name, value in self.recipe.model.state_dict().items()}

    def _what_is_kept(self, error: MedbenchError) -> str:
        kept = "model" if self.average is None else "average"
        weights = place_of(self.checkpoints, self.step) / f"{kept}.safetensors"
        if not isinstance(error, NonFiniteLoss):
            return f"The weights before it are kept: {weights}."
        return (
            "The weights before it are kept, and --resume would meet the same numbers again. To go "
            f"on with other settings or data, train into another --output with start: {{weights: "
            f"{weights}}}."
        )

    def _do_step(self, batches: Iterator[Any], journal: Journal) -> None:
        began = time.monotonic()
        step, settings = self.step, self.settings
        before = self._memory()
        rate = self.schedule.rate(step)
        set_rate(self.engine.optimiser, rate)
        self.engine.optimiser.zero_grad(set_to_none=True)
        if self._opposing is not None:
            self._opposing.begin(step)
        readings = Means(settings.batches_per_step)
        images = 0
        try:
            with own_draws(batch_generator(settings.seed, step, -2), self.engine.device):
                self.recipe.before_step(step)
            for part in range(settings.batches_per_step):
                images += self._backward(step, part, next_batch(batches), readings)
            norm = self.engine.clip(settings.optimiser.gradient_clip)
            if not self.engine.scales:
                check_finite("the gradient's norm", norm, step)
        except MedbenchError as error:
            self._restore(before)
            self._save(journal)
            if isinstance(error, NonFiniteLoss | NoBatch):  # which all processes meet together
                parallel.wait_for_all()
            raise type(error)(f"{error} {self._what_is_kept(error)}") from error
        self.engine.optimiser.step()
        if self._opposing is not None:
            readings.add("opponent_gradient_norm", self._opposing.finish(), parts=1)
        generator = batch_generator(settings.seed, step, -1)
        with own_draws(generator, self.engine.device):
            self.recipe.after_step(step, generator)
        if self.average is not None and not self.engine.skipped:
            self.average.update(self.recipe.model, step)
        self.step = step + 1
        self.seconds += time.monotonic() - began
        values = {"learning_rate": rate, "gradient_norm": norm, **readings.values}
        journal.add(step, values, images=images * parallel.world_size())

    def _backward(self, step: int, part: int, batch: Any, readings: Means) -> int:
        """Add the gradients of one batch and its readings; return its number of images."""
        parts = self.settings.batches_per_step
        generator = batch_generator(self.settings.seed, step, part)
        with own_draws(generator, self.engine.device):
            with self.engine.accumulating(more=part + 1 < parts):
                terms, further, images = self.engine.objective(step, batch, generator)
                readings.check_and_add({**terms, **further}, step)
                self.engine.backward(torch.stack(list(terms.values())).sum() / parts)
            if self._opposing is not None:
                terms = self.recipe.opponent_terms(step, generator)
                readings.check_and_add(terms, step)
                if terms:
                    (torch.stack(list(terms.values())).sum() / parts).backward()
        return images

    def _validate(self, journal: Journal) -> None:
        """Look at held-out data with the weights that would be exported."""
        if parallel.rank() != 0:
            return
        model = self.recipe.model
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.final_weights())
        model.eval()
        try:
            with torch.no_grad():
                found = self.recipe.validate(self.step)
        finally:
            model.load_state_dict(own)
            model.train()
        journal.add_validation(self.step, found)

    def _memory(self) -> dict[str, Any]:
        """What a step may change before its optimiser acts."""
        buffers = [value.clone() for value in self._buffers()]
        return {"buffers": buffers, "recipe": self.recipe.state_dict()}

    def _restore(self, memory: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for value, kept in zip(self._buffers(), memory["buffers"], strict=True):
                value.copy_(kept)
        self.recipe.load_state_dict(memory["recipe"])

    def _buffers(self) -> Iterator[torch.Tensor]:
        yield from self.recipe.model.buffers()
        if self.recipe.opponent is not None:
            yield from self.recipe.opponent.buffers()

    def _save(self, journal: Journal) -> None:
        if parallel.rank() != 0:
            return
        state = {
            "engine": self.engine.state_dict(),
            "recipe": self.recipe.state_dict(),
            "fingerprint": self.recipe.fingerprint,
            "journal": journal.state_dict(),
            "seconds": self.seconds,
        }
        if self._opposing is not None:
            state["opposing"] = self._opposing.state_dict()
        checkpoint = Checkpoint(
            step=self.step,
            model=self.recipe.model.state_dict(),
            average=self.average.weights if self.average is not None else None,
            state=state,
            config=self.config,
        )
        patience = self.settings.disk_patience_seconds
        save_patiently(self.checkpoints, checkpoint, patience_seconds=patience)
