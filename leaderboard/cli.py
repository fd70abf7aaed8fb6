"""The leaderboard's verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the leaderboard's verbs to the command line."""
    from .checking_cli import recheck, submit
    from .comparison.cli import compare
    from .gate.cli import gate
    from .reproduction.cli import reproduce

    app.command()(leaderboard)
    app.command()(compare)
    app.command()(gate)
    app.add_typer(submit, name="submit")
    app.command()(recheck)
    app.command()(reproduce)


def leaderboard(
    results: Annotated[
        Path,
        typer.Option("--results", help="Directory that `medbench run` wrote.", show_default=True),
    ] = Path("results"),
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "--out",
            help="A .md file for Markdown, or a directory for the static site.",
            show_default=True,
        ),
    ] = Path("LEADERBOARD.md"),
    update: Annotated[
        Path | None,
        typer.Option("--update", help="Rewrite the marked block of this Markdown file instead."),
    ] = None,
) -> None:
    """Render the records as Markdown or as a static site: same records, same bytes.

    Records that do not load are left out and named; the exit code is then 4.
    """
    from ..harness.errors import ExitCode, UsageError

    if update is None and output.suffix != ".md":
        if output.is_file():
            message = f"--output {output} is a file: give a .md file, or a directory for the site"
            raise UsageError(message)
        from .site.build import build_site

        built = build_site(results, output)
        for problem in built.problems:
            typer.echo(f"left out: {problem}", err=True)
        typer.echo(f"{output / 'index.html'}: {built.pages} pages, {built.records} records")
        if built.problems:
            raise typer.Exit(int(ExitCode.CELLS_FAILED))
        return
    from ..harness.files import write_bytes
    from ..harness.record_files import read_results
    from .markdown import render, replace_block
    from .trust import read_marks

    found = read_results(results)
    for problem in found.problems:
        typer.echo(f"left out: {problem}", err=True)
    page = render(found.records, read_marks(results))
    if update is not None:
        page, output = replace_block(update, page), update
    write_bytes(output, page.encode())
    typer.echo(str(output))
    if found.problems:
        raise typer.Exit(int(ExitCode.CELLS_FAILED))
