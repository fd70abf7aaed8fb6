"""Old record schemas brought to the present one, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import UsageError

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version -> a function that returns the same record in the next version."""


def migrate(data: Any, *, path: Path, current: int) -> dict[str, Any]:
    """Bring loaded JSON to schema `current`.

    Raises:
        UsageError: it is not a record, or comes from a newer medbench.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        message = f"{path}: not a medbench record (no schema_version)"
        raise UsageError(message)
    if version > current:
        message = (
            f"{path}: record schema {version}; this medbench reads up to {current}. "
            "Upgrade it: pip install -U medbench"
        )
        raise UsageError(message)
    while version < current:
        data = MIGRATIONS[version](data)
        version += 1
    return data
