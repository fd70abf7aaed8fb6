"""`medbench train`: train a preset, or a configuration file, into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .presets import find_preset, presets
from .run_plan import STAGES, SUFFIXES, Stage


def register(app: typer.Typer) -> None:
    """Add the trainer's verb to the command line."""
    app.command()(train)


def train(
    preset: Annotated[
        str, typer.Argument(help="A preset (see --list), or a FILE.yaml (or .json) of your own.")
    ] = "",
    *,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="TERM=VALUE",
            help="Change a term, as settings.steps=100, in every stage that has its section, or "
            "in one: stage1.settings.steps=100; null takes it out; repeatable.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--out",
            help="Folder of the run: checkpoints, curves, weights.  [default: runs/PRESET]",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run in --output was stopped.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show stages, parameters, schedules, losses and what is missing here; train "
            "nothing.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="With --dry-run: the complete configuration, to train from."),
    ] = False,
    register_as: Annotated[
        str, typer.Option("--register", help="Make the result `TOKENIZER@NAME` on this machine.")
    ] = "",
    show_list: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:0 … or auto.")] = "auto",
) -> None:
    """Train a preset; under `torchrun` the processes share every step's batches."""
    if show_list:
        _list()
        return
    if not preset:
        message = "name a preset or a configuration file: medbench train --list shows the presets"
        raise UsageError(message)
    if as_json and not dry_run:
        message = "--json goes with --dry-run"
        raise UsageError(message)
    stages = find_preset(preset).stages(changes)
    if dry_run:
        _show(stages, as_json=as_json)
        return
    from ..device import choose_device
    from .register_run import check_registration, register_run
    from .run import train as train_stages

    if register_as:
        check_registration(stages, register_as)
    folder = output or Path("runs") / _name(preset)
    weights = train_stages(stages, folder, resume=resume, device=choose_device(device))
    if os.environ.get("RANK", "0") != "0":  # set by torchrun; one process speaks for all
        return
    typer.echo(f"weights: {weights}")
    if register_as:
        typer.echo(f"registered: {register_run(stages, weights, register_as)}")


def _show(stages: Sequence[Stage], *, as_json: bool) -> None:
    """What would be trained, and what is missing for it."""
    if as_json:
        configs = {stage.name: stage.config for stage in stages}
        typer.echo(json.dumps({STAGES: configs}, indent=1))
        return
    from .outline import outline
    from .prerequisites import check_stages, missing

    check_stages(stages)
    for place, stage in enumerate(stages):
        typer.echo(outline(stage, stages[:place]))
    if absent := missing(stages):
        typer.echo("missing here:")
        for each in absent:
            typer.echo(f"  {each}")


def _name(preset: str) -> str:
    """Of a preset's or configuration file's run."""
    path = Path(preset)
    return path.stem if path.suffix in SUFFIXES else preset.replace("/", "-")


def _list() -> None:
    width = max(len(name) for name in presets())
    for name, preset in presets().items():
        typer.echo(f"{name:<{width}}  {preset.summary}")
