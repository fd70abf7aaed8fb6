"""User-written inputs: configurations as JSON text or files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .documents import LARGEST_JSON_BYTES, parse_json, read_file
from .errors import UsageError
from .files import canonical_json


def parse_config(text: str | None) -> dict[str, Any] | None:
    """A JSON object given as text (starting with a brace) or as the path of a file.

    Raises:
        UsageError: no such file, not JSON, or not an object.
    """
    if text is None:
        return None
    if text.lstrip().startswith("{"):
        return _object(text, where="--config")
    return read_config(Path(text))


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        text = read_file(path, LARGEST_JSON_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        message = f"configuration {path} cannot be read: {error}"
        raise UsageError(message) from error
    return _object(text, where=str(path))


def _object(text: str, *, where: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
        canonical_json(value).encode()  # it is hashed: neither NaN nor half a character
    except ValueError as error:
        message = f"{where}: not valid JSON ({error})"
        raise UsageError(message) from error
    if not isinstance(value, dict):
        message = f"{where}: a JSON object is expected, found {type(value).__name__}"
        raise UsageError(message)
    return value
