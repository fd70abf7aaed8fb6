"""`medbench train`: train a preset into a folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .presets import find_preset, read_config

if TYPE_CHECKING:
    from .settings import TrainingSettings

_LOG = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the trainer's verb to the command line."""
    app.command()(train)


def train(
    preset: Annotated[str, typer.Argument(help="What to train, for instance meditok-tiny.")],
    output: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, curve, weights.")],
    *,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the complete configuration only.")] = False,
) -> None:
    """Train a preset; under `torchrun` the processes share every step's batches."""
    chosen = find_preset(preset)
    config = {"preset": preset, **read_config(chosen.config)}
    settings = read_settings(config["settings"])
    config["settings"] = asdict(settings)
    if dry_run:
        typer.echo(json.dumps(config, indent=1))
        return
    weights = run(chosen.recipe, config, settings, output, resume=resume)
    if os.environ.get("RANK", "0") == "0":  # set by torchrun; one process speaks for all
        typer.echo(f"weights: {weights}")


def read_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """The settings of a configuration.

    Raises:
        UsageError: a setting is unknown, missing or impossible.
    """
    from .settings import TrainingSettings

    known = {each.name for each in fields(TrainingSettings)}
    if wrong := sorted(set(values) - known):
        message = (
            f"unknown training settings: {', '.join(wrong)}; known: {', '.join(sorted(known))}"
        )
        raise UsageError(message)
    if missing := [name for name in ("steps", "learning_rate") if name not in values]:
        message = f"the training settings lack {', '.join(missing)}"
        raise UsageError(message)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return TrainingSettings(**values)


def run(
    recipe: str,
    config: Mapping[str, Any],
    settings: TrainingSettings,
    output: Path,
    *,
    resume: bool,
) -> Path:
    """Train a recipe to the end and export its weights.

    Args:
        recipe: `package.module:attribute` of the recipe's factory.
        config: the complete configuration.
        settings: its `settings`.
        output: the run's folder.
        resume: whether to go on from a checkpoint; without it, a folder that has one is refused.

    Returns:
        The fp16 safetensors file with the final weights.
    """
    import torch

    from ..registry import load_target
    from . import parallel
    from .checkpoint import export_weights
    from .loop import Trainer

    if settings.threads:
        torch.set_num_threads(settings.threads)
    parallel.join()
    if not resume and (output / "checkpoints" / "latest.json").exists():
        message = f"{output} holds a run already. Add --resume to go on with it, or choose another."
        raise UsageError(message)
    factory = load_target(recipe)
    if parallel.rank() == 0:
        factory(config, settings, output)  # paints what the others then find
    parallel.wait_for_all()
    trainer = Trainer(factory(config, settings, output), settings, output, config=config)
    if resume and not trainer.resume():
        _LOG.info("nothing to resume in %s: starting from the beginning", output)
    weights = trainer.run()
    path = output / "weights.safetensors"
    if parallel.rank() == 0:
        export_weights(path, trainer.recipe.export(weights))
    return path
