"""`medbench sweep`: a grid of cells as one resumable command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cluster import EngineName


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(sweep)


def sweep(
    spec: Annotated[str, typer.Argument(help="A YAML file, or a name of --list.")] = "",
    output: Annotated[
        Path, typer.Option("--output", "--out", help="Results directory.", show_default=True)
    ] = Path("results"),
    engine: Annotated[
        EngineName, typer.Option("--engine", help="This machine, or a Ray cluster.")
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", help="Of a running Ray cluster.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, the time and the disk they take.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the sweeps that come along.")
    ] = False,
) -> None:
    """Run a grid of tokenizers, tasks, data sets and seeds; what is done is passed over."""
    from ..errors import UsageError
    from .board import Board
    from .cells import cells_of
    from .named import find_spec, named_specs
    from .report import plan_text, result_text
    from .sweep import done_so_far, work_through

    if listed:
        typer.echo("\n".join(f"{name}: {path}" for name, path in named_specs().items()))
        return
    if not spec:
        message = "which sweep? Give a YAML file, or a name that `medbench sweep --list` shows"
        raise UsageError(message)
    terms = find_spec(spec)
    cells = cells_of(terms)
    done = {cell.key for cell in cells} & done_so_far(output).keys()
    if dry_run:
        typer.echo(plan_text(terms, cells, output))
        return
    if engine is EngineName.RAY:
        from .engines import RayEngine

        chosen = RayEngine(terms, output, address=address)
    else:
        from .engines import LocalEngine

        chosen = LocalEngine(terms, output)
    with Board(cells, len(done)) as board:
        result = work_through(cells, chosen, output, started=board.started, ended=board.ended)
    typer.echo(result_text(result, output))
    if terms.site is not None:
        _build_site(output, Path(terms.site))
    if result.unfinished:
        from ..errors import ExitCode

        raise typer.Exit(int(ExitCode.CELLS_FAILED))


def _build_site(output: Path, site: Path) -> None:
    """By the command line, because what lies above the harness is not imported here."""
    import subprocess
    import sys

    words = ["leaderboard", "--results", str(output), "--output", str(site)]
    subprocess.run([sys.executable, "-m", "medbench", *words], check=True)  # noqa: S603
