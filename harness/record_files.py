"""Where records lie, and how they are written, found and loaded; no torch is needed.

Path: `<results>/<task>/<dataset slug>/<tokenizer>@<variant>/<key8>.json`, with per-image rows
in a Parquet file of the same stem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from .errors import UsageError
from .files import write_bytes
from .record import SCHEMA_VERSION, Record
from .record_migrations import migrate


def slug(dataset_id: str) -> str:
    """The dataset's folder name: characters outside `[a-z0-9._@-]` become `-`."""
    return re.sub(r"[^a-z0-9._@-]", "-", dataset_id.lower())


def record_path(results: Path, *, task: str, dataset_id: str, tokenizer: str, key8: str) -> Path:
    """Where a record lies; `tokenizer` is the full name."""
    return results / task / slug(dataset_id) / slug(tokenizer) / f"{key8}.json"


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    write_bytes(path, (record.model_dump_json(indent=1) + "\n").encode())


def load_record(path: Path | str) -> Record:
    """Load and check one record.

    Raises:
        UsageError: unreadable, not a record, or of a newer schema than this medbench knows.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: not a readable JSON file ({error})"
        raise UsageError(message) from error
    data = migrate(data, path=path, current=SCHEMA_VERSION)
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "record"
        message = (
            f"{path}: not a valid record: {place}: {first['msg']} "
            f"({error.error_count()} problems in all)"
        )
        raise UsageError(message) from error


def record_files(results: Path) -> Iterator[Path]:
    """All record files below a results directory, sorted; work folders are left out."""
    for path in sorted(results.glob("*/*/*/*.json")):
        if not any(part.startswith(".") for part in path.relative_to(results).parts):
            yield path


def load_records(results: Path | str) -> Sequence[Record]:
    """All records below a results directory, in the order of their paths.

    Raises:
        UsageError: no such directory, or a record that does not load.
    """
    results = Path(results)
    if not results.is_dir():
        message = f"no results directory {results}. Make one with: medbench run"
        raise UsageError(message)
    return [load_record(path) for path in record_files(results)]
