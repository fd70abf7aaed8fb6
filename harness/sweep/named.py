"""Sweeps by name: those that come with medbench, and files."""

from __future__ import annotations

import importlib
from pathlib import Path

from ..errors import UsageError
from .spec import SweepSpec, read_spec

_CATALOGUE = "medbench.tasks.catalogue"


def named_specs() -> dict[str, Path]:
    """Files of the sweeps that come along, by name."""
    folder = importlib.import_module(_CATALOGUE).SWEEPS
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_spec(reference: str) -> SweepSpec:
    """The sweep of a file or of a name.

    Raises:
        UsageError: neither, or the file is not a sweep.
    """
    named = named_specs()
    path = Path(reference)
    if not path.is_file() and reference in named:
        path = named[reference]
    if not path.is_file():
        message = f"{reference} is neither a file nor one of: {', '.join(named)}"
        raise UsageError(message)
    return read_spec(path)
