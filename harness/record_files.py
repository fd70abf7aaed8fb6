"""Where records lie, and how they are written, found and loaded; no torch is needed.

Path: `<results>/<task>/<dataset slug>/<tokenizer>@<variant>/<key8>.json`, with per-image rows
in a Parquet file of the same stem.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .documents import parse_json, read_file
from .errors import UsageError
from .files import write_bytes
from .parquet import column_names, read_table
from .record import SCHEMA_VERSION, Record
from .record_migrations import migrate

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_BYTES = 32 << 20
"""A record is some 100 kB; a file that is much larger is none, and is not read into memory."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the file that it came from."""

    path: Path
    record: Record

    @property
    def rows_path(self) -> Path | None:
        """The Parquet file of per-image rows, where the record names one and it is there."""
        if self.record.per_image is None:
            return None
        path = self.path.parent / self.record.per_image
        return path if path.is_file() else None

    def rows(self) -> pd.DataFrame | None:
        """The per-image rows: `id`, `group`, `patient`, `sha256` and the scores; None: no file.

        Columns of lists are left out.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.rows_path
        return None if path is None else _read_rows(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _read_rows(path: Path, changed: int) -> pd.DataFrame:  # noqa: ARG001 (part of the key)
    # A probe's scores of its classes are lists; they are for other programs.
    return read_table(path, column_names(path, flat=True))


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not among the results, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Results:
    """What a results directory holds: the records that load, and what was refused."""

    folder: Path
    stored: list[Stored] = field(default_factory=list)
    """In the order of their paths."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """The records, in the order of their paths."""
        return [each.record for each in self.stored]


@lru_cache(maxsize=4096)
def slug(name: str) -> str:
    """A name as a folder or file: characters outside `[a-z0-9._@-]`, and dots in front, are `-`."""
    plain = re.sub(r"[^a-z0-9._@-]", "-", name.lower())
    return re.sub(r"^\.+", lambda dots: "-" * len(dots.group()), plain) or "-"


def record_path(results: Path, *, task: str, dataset_id: str, tokenizer: str, key8: str) -> Path:
    """Where a record lies; `tokenizer` is the full name."""
    return results / task / slug(dataset_id) / slug(tokenizer) / f"{key8}.json"


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    write_bytes(path, (record.model_dump_json(indent=1) + "\n").encode())


def load_record(path: Path | str) -> Record:
    """Load and check one record.

    Raises:
        UsageError: unreadable, not a record, of a newer schema than this medbench knows, or with
            contents that contradict each other.
    """
    path = Path(path)
    try:
        content = read_file(path, _LARGEST_BYTES)
    except (OSError, ValueError) as error:
        message = f"{path}: not a readable file ({error})"
        raise UsageError(message) from error
    try:
        record = Record.model_validate_json(content)
    except ValidationError:
        # The slow way also reads old schemas, and says what is wrong with what it cannot read.
        record = _validated(_parsed(content, path), path)
    if (doubt := _contradiction(record)) is not None:
        message = f"{path}: not a valid record: {doubt}"
        raise UsageError(message)
    return record


def _parsed(content: bytes, path: Path) -> Any:
    try:
        return parse_json(content.decode("utf-8"))
    except ValueError as error:
        message = f"{path}: not a readable JSON file ({error})"
        raise UsageError(message) from error


def _validated(data: Any, path: Path) -> Record:
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


_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


def _contradiction(record: Record) -> str | None:
    """What a record says of itself that cannot be so, or would lead out of its folder."""
    if not _TASK.fullmatch(record.task):
        return f"task {record.task!r} is not a name"
    for what, name in (
        ("tokenizer", record.tokenizer),
        ("variant", record.variant),
        ("dataset id", record.dataset.id),
    ):
        if not _NAME.fullmatch(name):
            return f"{what} {name!r} has control characters, or none or too many characters"
    for name in (record.tokenizer, record.variant):
        if ".." in PurePosixPath(name.replace("\\", "/")).parts or name.startswith(("/", "\\")):
            return f"the name {name!r} is a path out of the results directory"
    for file in (record.per_image, *(image.file for image in record.gallery)):
        if file is not None and not _stays_inside(file):
            return f"the file name {file!r} leads out of the record's folder"
    if record.identity.data_fingerprint != record.dataset.fingerprint:
        return "data fingerprints of identity and dataset differ"
    if record.identity.weights_sha256 != record.info.weights_sha256:
        return "weights hashes of identity and info differ"
    if (record.info.name, record.info.variant) != (record.tokenizer, record.variant):
        return f"info names {record.info.name}@{record.info.variant}, the record {record.full_name}"
    return None


def _stays_inside(file: str) -> bool:
    path = PurePosixPath(file.replace("\\", "/"))
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and ":" not in file
    )


def record_files(results: Path) -> Iterator[Path]:
    """All record files below a results directory, sorted; work and gallery folders are left out."""
    for path in sorted(results.glob("*/*/*/*.json")):
        if not beside_records(path, results):
            yield path


def beside_records(path: Path, results: Path) -> bool:
    """Whether a file belongs to unfinished work or to a record's gallery."""
    parts = path.parts[len(results.parts) :]
    return any(part.startswith(".") or part.endswith(".gallery") for part in parts)


def read_results(results: Path | str) -> Results:
    """All records below a results directory; what does not load is reported, not raised.

    A cell that occurs twice (same task, images, tokenizer and identity) counts once: the file
    whose path is the cell's own, else the first one.

    Raises:
        UsageError: no such directory.
    """
    results = _existing(results)
    found = Results(results)
    cells: dict[tuple[str, ...], int] = {}
    shared: dict[str, Any] = {}
    with no_collection():
        for path in record_files(results):
            try:
                stored = Stored(path, _shared(load_record(path), shared))
            except UsageError as error:
                found.problems.append(Problem(path, str(error)))
                continue
            cell = _cell(stored.record)
            if cell not in cells:
                cells[cell] = len(found.stored)
                found.stored.append(stored)
                continue
            kept = found.stored[cells[cell]]
            if _at_home(stored, results) and not _at_home(kept, results):
                found.stored[cells[cell]], stored, kept = stored, kept, stored
            found.problems.append(Problem(stored.path, f"the same cell as {kept.path}"))
    return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Records hold no cycles: looking for some among a million objects would double the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _cell(record: Record) -> tuple[str, ...]:
    identity = record.identity
    return (record.task, record.dataset.id, record.full_name, identity.key8)


def _at_home(stored: Stored, results: Path) -> bool:
    record = stored.record
    own = record_path(
        results,
        task=record.task,
        dataset_id=record.dataset.id,
        tokenizer=record.full_name,
        key8=record.identity.key8,
    )
    return stored.path == own


def _shared(record: Record, known: dict[str, Any]) -> Record:
    """The record with the parts that others repeat held once."""
    same: dict[str, Any] = {
        name: known.setdefault(name + part.model_dump_json(), part)
        for name, part in (
            ("environment", record.environment),
            ("info", record.info),
            ("dataset", record.dataset),
        )
    }
    texts = [f"{name}:{d.model_dump_json()}" for name, d in record.definitions.items()]
    same["definitions"] = known.setdefault("definitions" + "".join(texts), record.definitions)
    return record.model_copy(update=same)


def load_records(results: Path | str) -> Sequence[Record]:
    """All records below a results directory, in the order of their paths.

    Raises:
        UsageError: no such directory, or a record that does not load.
    """
    results = _existing(results)
    return [load_record(path) for path in record_files(results)]


def _existing(results: Path | str) -> Path:
    results = Path(results)
    if not results.is_dir():
        message = f"no results directory {results}. Make one with: medbench run"
        raise UsageError(message)
    return results
