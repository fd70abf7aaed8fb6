"""`medbench train`: train a preset, or a configuration file, into a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .presets import find_preset, presets


def register(app: typer.Typer) -> None:
    """Add the trainer's verb to the command line."""
    app.command()(train)


def train(
    preset: Annotated[
        str, typer.Argument(help="A preset (see --list) or a configuration FILE.yaml.")
    ] = "",
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--out",
            help="Folder of the run: checkpoints, curves, weights.  [default: runs/PRESET]",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show stages, parameters, schedules and losses; train nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: the complete configuration.")
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
    stages = find_preset(preset).stages()
    if dry_run:
        if as_json:
            typer.echo(json.dumps({stage.name: stage.config for stage in stages}, indent=1))
            return
        from .outline import outline

        for stage in stages:
            typer.echo(outline(stage))
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


def _name(preset: str) -> str:
    """Of a preset's or configuration file's run."""
    path = Path(preset)
    return path.stem if path.suffix in {".yaml", ".yml"} else preset.replace("/", "-")


def _list() -> None:
    width = max(len(name) for name in presets())
    for name, preset in presets().items():
        typer.echo(f"{name:<{width}}  {preset.summary}")
