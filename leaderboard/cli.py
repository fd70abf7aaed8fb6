"""The leaderboard's verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the leaderboard's verbs to the command line."""
    app.command()(leaderboard)


def leaderboard(
    results: Annotated[
        Path,
        typer.Option("--results", help="Directory that `medbench run` wrote.", show_default=True),
    ] = Path("results"),
    output: Annotated[
        Path, typer.Option("--output", "--out", help="Markdown file to write.", show_default=True)
    ] = Path("LEADERBOARD.md"),
    update: Annotated[
        Path | None,
        typer.Option("--update", help="Rewrite the marked block of this Markdown file instead."),
    ] = None,
) -> None:
    """Render the records as a Markdown leaderboard: same records, same bytes."""
    from ..harness.files import write_bytes
    from ..harness.record_files import load_records
    from .markdown import render, replace_block

    page = render(load_records(results))
    if update is not None:
        page, output = replace_block(update, page), update
    write_bytes(output, page.encode())
    typer.echo(str(output))
