"""What the trainer costs: against a plain loop over the same modules, and waiting for batches.

Stage 1 of a preset is trained by `Trainer` and by a loop that does nothing but what training needs
(the same data, losses, backward passes, clipping, AdamW, running mean of the weights). Both take
turns on one thread; CPU seconds count, the median over all steps. Then the trainer runs with
workers that prepare its batches, and the share of the time in which it waits for them is told.

    python benchmarks/trainer.py [--preset micro] [--steps N] [--rounds N]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tabulate import tabulate
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medbench.harness.training import loop
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.loop import Trainer
from medbench.harness.training.optimiser import build_optimiser, set_rate
from medbench.harness.training.presets import find_preset, recipe_module
from medbench.harness.training.recipe import Recipe
from medbench.harness.training.run import train
from medbench.harness.training.run_plan import Stage
from medbench.harness.training.settings import TrainingSettings

_WARM_UP = 3
"""Steps that are not counted."""
_POOL = 360
"""Images in each pool: enough to draw from, and quick to paint."""


class _Pause(Exception):
    """Ends a run that was only to be measured."""


class Bench:
    """Stage 1 of a preset, ready to be built again and again.

    Args:
        preset: name or file.
        work: folder for the run; a teacher that stage 1 needs is trained for two steps.
    """

    def __init__(self, preset: str, work: Path) -> None:
        stages = {stage.name: _small(stage) for stage in find_preset(preset).stages()}
        if "teacher" in stages:
            train([_short(stages["teacher"])], work / "teacher")
        self.stage = stages.get("stage1") or stages[next(iter(stages))]
        self.work = work
        settings = read_fields(TrainingSettings, self.stage.config["settings"], "settings")
        # Codes exist from the first step on: k-means belongs to neither loop's daily work.
        self.settings = replace(settings, threads=1, validate_every=0)

    def recipe(self, *, workers: int = 0) -> Recipe:
        """A fresh one."""
        settings = replace(self.settings, workers=workers)
        place = self.work / self.stage.name
        return recipe_module(self.stage.recipe).build(self.stage.config, settings, place)


def _small(stage: Stage) -> Stage:
    data = dict(stage.config["data"])
    source = dict(data["source"])
    source["pools"] = [{**pool, "count": min(pool["count"], _POOL)} for pool in source["pools"]]
    config = {**stage.config, "data": {**data, "source": source}}
    if "codebooks" in config:
        config["codebooks"] = {**config["codebooks"], "quantise_from": 0, "kmeans_batches": 0}
    return Stage(stage.name, config)


def _short(teacher: Stage) -> Stage:
    settings = dict(teacher.config["settings"])
    settings.update(steps=2, optimiser={**settings["optimiser"], "warmup_steps": 1})
    return Stage(teacher.name, {**teacher.config, "settings": settings})


def by_trainer(bench: Bench, steps: int) -> list[float]:
    """CPU seconds of each step of `Trainer`, journal included."""
    recipe, stamps = bench.recipe(), []
    _stamp_steps(recipe, steps, lambda: stamps.append(time.process_time()))
    _train(bench.settings, recipe)
    return _gaps(stamps)


def by_plain_loop(bench: Bench, steps: int) -> list[float]:
    """CPU seconds of each step of a loop that does only what training needs."""
    recipe, settings = bench.recipe(), bench.settings
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    model, opponent = recipe.model.train(), recipe.opponent
    optimiser = build_optimiser(model, settings.optimiser)
    theirs = None
    if opponent is not None and settings.opponent is not None:
        theirs = build_optimiser(opponent, settings.opponent)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
    schedule = settings.optimiser.schedule(settings.steps)
    batches, generator = recipe.batches(0), torch.Generator().manual_seed(0)
    stamps = []
    for step in range(steps + 1):
        stamps.append(time.process_time())
        set_rate(optimiser, schedule.rate(step))
        optimiser.zero_grad()
        _total(recipe.losses(step, next(batches), generator).terms).backward()
        if settings.optimiser.gradient_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.optimiser.gradient_clip)
        optimiser.step()
        if theirs is not None:
            theirs.zero_grad()
            if terms := recipe.opponent_terms(step, generator):
                _total(terms).backward()
                theirs.step()
        recipe.after_step(step, generator)
        average.update_parameters(model)
    return _gaps(stamps)


def _total(terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def waiting_share(bench: Bench, steps: int, workers: int) -> float:
    """Share of the wall-clock time in which the trainer waits for a batch."""
    recipe, stamps, waits = bench.recipe(workers=workers), [], []
    made = recipe.batches

    def timed(first_step: int) -> Iterator[Any]:
        batches = made(first_step)
        while True:
            began = time.monotonic()
            batch = next(batches)
            waits.append(time.monotonic() - began)
            yield batch

    recipe.batches = timed
    _stamp_steps(recipe, steps, lambda: stamps.append(time.monotonic()))
    _train(bench.settings, recipe)
    counted = waits[_WARM_UP * bench.settings.batches_per_step :]
    return sum(counted) / (stamps[-1] - stamps[_WARM_UP])


def _stamp_steps(recipe: Recipe, steps: int, stamp: Any) -> None:
    """Have `stamp` called before each of `steps` + 1 steps, and the run ended then."""
    own = recipe.before_step

    def before_step(step: int) -> None:
        stamp()
        if step == steps:
            raise _Pause
        own(step)

    recipe.before_step = before_step


def _train(settings: TrainingSettings, recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, settings, Path(folder), config={})
        try:
            trainer.run()
        except _Pause:
            return
    message = "the preset has fewer steps than are to be measured"
    raise SystemExit(message)


def _gaps(stamps: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(stamps)][_WARM_UP:]


def saving(bench: Bench, steps: int) -> float:
    """Wall-clock seconds of one checkpoint, on the disk of temporary files."""
    recipe, seconds = bench.recipe(), []
    own = loop.save_patiently

    def timed(*arguments: Any, **options: Any) -> Path:
        began = time.monotonic()
        place = own(*arguments, **options)
        seconds.append(time.monotonic() - began)
        return place

    _stamp_steps(recipe, steps, lambda: None)
    with patch.object(loop, "save_patiently", timed):
        _train(replace(bench.settings, checkpoint_seconds=0.0), recipe)
    return statistics.median(seconds)


def main(arguments: Mapping[str, Any]) -> None:
    """Print the table."""
    logging.basicConfig(level=logging.WARNING)
    steps, rounds = arguments["steps"] + _WARM_UP, arguments["rounds"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments["preset"], Path(folder))
        ours, plain = [], []
        for _ in range(rounds):
            ours += by_trainer(bench, steps)
            plain += by_plain_loop(bench, steps)
        share = waiting_share(bench, steps, arguments["workers"])
        checkpoint = saving(bench, _WARM_UP)
    ours, plain = statistics.median(ours), statistics.median(plain)
    print(
        tabulate(
            [
                ["plain loop, CPU s a step", f"{plain:.4f}"],
                ["trainer, CPU s a step", f"{ours:.4f}"],
                ["overhead", f"{100 * (ours / plain - 1):+.1f} %"],
                [f"waiting for batches, {arguments['workers']} workers", f"{100 * share:.1f} %"],
                ["a checkpoint, s", f"{checkpoint:.2f}"],
                ["seconds between checkpoints", f"{bench.settings.checkpoint_seconds:.0f}"],
            ],
            headers=[f"{arguments['preset']}, {bench.stage.name}", ""],
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    main(vars(parser.parse_args()))
