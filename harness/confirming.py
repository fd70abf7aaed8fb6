"""Ask before something is downloaded or removed."""

from __future__ import annotations

import sys

from .errors import UsageError


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if `yes` was given or a person agrees.

    Raises:
        UsageError: nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        message = (
            f"{question} Nobody is at the terminal to answer, so nothing was done. "
            "Pass --yes to agree."
        )
        raise UsageError(message)
    import typer

    typer.confirm(question, abort=True, err=True)
