"""`medbench sweep`: a grid of cells as one resumable command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..cluster import EngineName
from ..errors import ExitCode

if TYPE_CHECKING:
    from .attempt import Attempt
    from .cells import SweepCell
    from .engines import Engine
    from .sweep import SweepResult


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
    force: Annotated[
        bool, typer.Option("--force", help="Measure again what other code measured.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, the time and the disk they take.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the sweeps that come along.")
    ] = False,
) -> None:
    """Run a grid of tokenizers, tasks, data sets and seeds; what is done is passed over."""
    from ..errors import UsageError
    from .cells import cells_of
    from .named import find_spec, named_specs
    from .recorded import recorded
    from .report import plan_text, result_text

    if listed:
        typer.echo("\n".join(f"{name}: {path}" for name, path in named_specs().items()))
        return
    if not spec:
        message = "which sweep? Give a YAML file, or a name that `medbench sweep --list` shows"
        raise UsageError(message)
    terms = find_spec(spec)
    cells = cells_of(terms)
    done = recorded(cells, output)
    if force:
        done = {key: attempt for key, attempt in done.items() if attempt.status != "stale"}
    if dry_run:
        typer.echo(plan_text(terms, cells, done, output))
        return
    if engine is EngineName.RAY:
        from .engines import RayEngine

        chosen = RayEngine(terms, output, address=address, force=force)
    else:
        from .engines import LocalEngine

        chosen = LocalEngine(terms, output, force=force)
    result = _work_through(cells, chosen, output, done)
    typer.echo(result_text(result, output))
    whole = terms.site is None or _build_site(output, Path(terms.site))
    if result.unfinished or not whole:
        raise typer.Exit(int(ExitCode.CELLS_FAILED))


def _work_through(
    cells: Sequence[SweepCell], engine: Engine, output: Path, done: Mapping[str, Attempt]
) -> SweepResult:
    """With a table, until the end or until Ctrl-C or SIGTERM, which do the same."""
    from .board import Board
    from .sweep import work_through

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Board(cells, len(done)) as board:
            return work_through(
                cells, engine, output, done, started=board.started, ended=board.ended
            )
    except KeyboardInterrupt:
        typer.echo("stopped; what is finished is kept, the same command goes on", err=True)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _build_site(output: Path, site: Path) -> bool:
    """By the command line, because what lies above the harness is not imported here.

    Whether all records are shown; the command says on standard error which are not, and why.
    """
    words = ["leaderboard", "--results", str(output), "--output", str(site)]
    ended = subprocess.run([sys.executable, "-m", "medbench", *words], check=False)  # noqa: S603
    if ended.returncode:
        typer.echo(f"{site}: no whole site (exit code {ended.returncode}), see above", err=True)
    return ended.returncode == 0
