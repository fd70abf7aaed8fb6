"""A run: the stages of a configuration, one after the other, into one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .. import ranks
from ..documents import load_json
from ..errors import UsageError
from ..files import hash_value, write_json
from ..sealed import is_damaged
from . import parallel
from .checkpoint import export_weights
from .config_terms import read_fields
from .loop import Trainer
from .prerequisites import check_stages, require
from .presets import recipe_module
from .run_plan import Stage
from .settings import TrainingSettings, same_training

_LOG = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"
"""The exported weights of a stage, half precision, in its folder."""
_SUMMARY = "summary.json"


def stage_folder(output: Path, stage: Stage, stages: Sequence[Stage]) -> Path:
    """Where a stage of a run lies: the run's own folder where it is the only one."""
    return output / stage.name if len(stages) > 1 else output


def train(
    stages: Sequence[Stage], output: Path, *, resume: bool = False, device: str = "cpu"
) -> Path:
    """Train every stage that is not finished yet, and export its weights.

    Args:
        stages: what to train.
        output: the run's folder.
        resume: whether to go on; without it, a folder that holds a run is refused.
        device: torch device.

    Returns:
        The last stage's weights.

    Raises:
        UsageError: a stage is not configured right (which is told before the first one is
            trained), or the folder holds a run already, or one with another configuration.
        MissingPrerequisite: data or weights of a stage are not on this machine (told before, too).
        NonFiniteLoss: a loss was not finite.
    """
    check_stages(stages)
    places = {stage.name: stage_folder(output, stage, stages) for stage in stages}
    require([each for each in stages if not (resume and _finished(places[each.name], each))])
    parallel.join(device)
    name = f"train-{hash_value(str(output.absolute()))[:32]}"
    with ranks.alone(name, f"the run in {output}"):
        if not resume:
            _require_none(output, stages)
        for stage in stages:
            _train_stage(stage, places[stage.name], resume=resume, device=device)
    return places[stages[-1].name] / WEIGHTS


def _require_none(output: Path, stages: Sequence[Stage]) -> None:
    for stage in stages:
        folder = stage_folder(output, stage, stages)
        if (folder / "checkpoints" / "latest.json").exists():
            message = f"{folder} holds a run already. Add --resume to go on, or choose another."
            raise UsageError(message)


def _train_stage(stage: Stage, folder: Path, *, resume: bool, device: str) -> None:
    if resume and _finished(folder, stage):
        _LOG.info("%s is finished", folder)
        return
    settings, config = _complete(stage)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    build = recipe_module(stage.recipe).build
    if parallel.rank() == 0 and parallel.world_size() > 1:
        build(config, settings, folder)  # paints what the others then find
    parallel.wait_for_all()
    trainer = Trainer(
        build(config, settings, folder), settings, folder, config=config, device=device
    )
    if resume and not trainer.resume():
        _LOG.info("nothing to resume in %s: starting from the beginning", folder)
    weights = trainer.run()
    if parallel.rank() == 0:
        export_weights(folder / WEIGHTS, trainer.recipe.export(weights))
        write_json(folder / _SUMMARY, _summary(stage, config, trainer))
    parallel.wait_for_all()


def _complete(stage: Stage) -> tuple[TrainingSettings, dict[str, Any]]:
    """The settings, and the configuration with the defaults of those that it leaves out."""
    settings = read_fields(TrainingSettings, stage.config["settings"], f"{stage.name}.settings")
    return settings, {**stage.config, "settings": asdict(settings)}


def _finished(folder: Path, stage: Stage) -> bool:
    """Whether a stage was trained to its end with this very configuration."""
    try:
        summary = load_json(folder / _SUMMARY)
    except (OSError, ValueError):
        return False
    same = same_training(summary.get("config") or {}, _complete(stage)[1])
    return same and (folder / WEIGHTS).exists() and not is_damaged(folder / WEIGHTS)


def _summary(stage: Stage, config: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """What a card says of a training: how long, how much, on what."""
    return {
        "stage": stage.name,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "processes": parallel.world_size(),
        "threads": torch.get_num_threads(),
        "device": str(trainer.engine.device),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in trainer.recipe.model.parameters()),
        "config": config,
    }
