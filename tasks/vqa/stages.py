"""Stages of teaching: each is trained once, kept in the cache, and resumed where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ...harness.errors import UsageError
from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.training import parallel
from ...harness.training.checkpoint import write_weights
from ...harness.training.kept import train_once
from ...harness.training.loop import Trainer
from ...harness.training.settings import OptimiserSettings, TrainingSettings
from .language import recompute_activations
from .presets import StageTerms
from .recipe import AnswerRecipe, load_trained

logger = logging.getLogger(__name__)

VERSION = 1
"""Bumped by hand when a stage's code changes what it gives."""
_WEIGHTS = "trained.safetensors"


@dataclass(frozen=True, slots=True)
class StageKey:
    """What a stage's result depends on."""

    name: str
    facts: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        key = hash_value([VERSION, self.name, dict(self.facts)])
        return cache_root() / "vqa" / f"{self.name}-{key[:24]}"


def steps_of(terms: StageTerms, units: int) -> int:
    """Optimiser steps; of an epoch, the last smaller batch is left out."""
    return terms.steps or max(1, terms.epochs * (units // terms.batch))


def passes_of(terms: StageTerms) -> int:
    """Forward passes of each process whose mean gradient makes a step.

    Raises:
        UsageError: the processes cannot share the batch, or the passes a process's share of it.
    """
    rows = parallel.own_rows(terms.batch)
    share = rows.stop - rows.start
    if not terms.pass_units or share <= terms.pass_units:
        return 1
    if share % terms.pass_units:
        message = (
            f"a share of {share} in a batch of {terms.batch} cannot be passed {terms.pass_units} "
            "at a time: start another number of processes"
        )
        raise UsageError(message)
    return share // terms.pass_units


def settings_of(terms: StageTerms, units: int, *, seed: int) -> TrainingSettings:
    """How the training loop runs a stage: AdamW without decay, warm-up, half a cosine."""
    steps = steps_of(terms, units)
    optimiser = OptimiserSettings(
        learning_rate=terms.rate,
        warmup_steps=terms.warmup * steps,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        epsilon=1e-8,
        gradient_clip=1.0,
    )
    return TrainingSettings(
        steps=steps,
        optimiser=optimiser,
        batches_per_step=passes_of(terms),
        precision=terms.precision,
        checkpoint_activations=terms.recompute,
        seed=seed,
        log_every=50,
    )


def train_stage(
    key: StageKey, recipe: AnswerRecipe, terms: StageTerms, *, seed: int, device: str
) -> None:
    """Train a recipe's model, or load what was trained before; the model then holds the result.

    Args:
        key: all that the result depends on.
        recipe: with the model.
        terms: of the stage.
        seed: of the training's own draws.
        device: torch device.
    """
    folder = key.folder

    def build() -> Trainer:
        settings = settings_of(terms, len(recipe.units), seed=seed)
        recipe.passes = settings.batches_per_step
        if settings.checkpoint_activations:
            recompute_activations(recipe.answering.network)
        config = {"stage": key.name, **asdict(terms), "key": folder.name}
        logger.info("%s: %d steps into %s", key.name, settings.steps, folder)
        return Trainer(recipe, settings, folder, config=config, device=device)

    train_once(folder / _WEIGHTS, build, write_weights, what=f"the stage {folder.name}")
    load_trained(recipe.answering, load_file(folder / _WEIGHTS))
    recipe.answering.to(device)
