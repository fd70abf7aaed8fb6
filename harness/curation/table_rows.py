"""SOURCE tables: CSV, Parquet or JSONL rows with captions, labels and tags as units."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..datasets.images import SUFFIXES
from ..datasets.rows import modality_of, text_field, window_of
from ..documents import parse_json
from ..errors import UsageError
from ..parquet import read_table
from .unit import Kind, Unit

TABLES = frozenset({".csv", ".parquet", ".jsonl"})
_PATH = ("path", "identifier", "image", "image_path")
_PRIMARY = ("primary_label", "image_primary_label")
_SECONDARY = ("secondary_label", "image_secondary_label")


def table_units(table: Path, source: str, *, split: str = "") -> list[Unit]:
    """One unit a row; a row that cannot be used keeps its place with the reason.

    Raises:
        UsageError: unreadable, no rows, no column of paths, or no row of that split.
    """
    rows = _read(table)
    if not rows or not any(name in rows[0] for name in _PATH):
        found = ", ".join(map(str, rows[0])) if rows else "no rows"
        message = f"{table}: needs a column {' or '.join(_PATH)}; found {found}"
        raise UsageError(message)
    if split:
        rows = [row for row in rows if str(row.get("split")) == split]
        if not rows:
            message = f"{table}: no row has split {split!r}"
            raise UsageError(message)
    units: list[Unit] = []
    taken: set[str] = set()
    for number, row in enumerate(rows, 1):
        unit = _unit(table, number, row, source)
        if unit.name in taken:
            message = f"{unit.name!r} occurs more than once; ids (or paths) must differ"
            unit = _broken(table, number, source, f"row-{number}", message)
        taken.add(unit.name)
        units.append(unit)
    return units


def _read(table: Path) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        if table.suffix.lower() == ".jsonl":
            lines = table.read_text(encoding="utf-8-sig").splitlines()
            return [_object(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        if table.suffix.lower() == ".parquet":
            frame = read_table(table, flat=False)
        else:
            frame = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except Exception as error:
        message = f"{table}: not a readable CSV, Parquet or JSONL table ({error})"
        raise UsageError(message) from error
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except ValueError as error:
        message = f"line {number}: {error}"
        raise ValueError(message) from error
    if not isinstance(value, dict):
        message = f"line {number}: an object is expected, found {type(value).__name__}"
        raise TypeError(message)
    return value


def _unit(table: Path, number: int, row: dict[str, Any], source: str) -> Unit:
    given = next((str(row[name]) for name in _PATH if row.get(name)), "")
    try:
        return _checked(table, number, row, Unit(source, "", "image", (), ""))
    except ValueError as error:
        return _broken(table, number, source, _shown_name(given, number), str(error))


def _broken(table: Path, number: int, source: str, name: str, message: str) -> Unit:
    problem = f"{table.name}: row {number}: {message}"
    return Unit(source, name, "image", (), "", problem=problem)


def _checked(table: Path, number: int, row: dict[str, Any], empty: Unit) -> Unit:
    given = next((text for name in _PATH if (text := text_field(row, name))), None)
    modality, mask = text_field(row, "modality"), text_field(row, "mask")
    if given is None or modality is None:
        message = "path and modality must not be empty"
        raise ValueError(message)
    group = modality_of(modality)
    path = _existing(table, given)
    return replace(
        empty,
        name=text_field(row, "id") or _shown_name(given, number),
        kind=_kind(path),
        files=(str(path),),
        modality=group,
        caption=text_field(row, "caption"),
        label=text_field(row, "label"),
        patient=text_field(row, "patient"),
        tags=_list(row.get("tags")),
        primary_labels=_list(_first_value(row, _PRIMARY)),
        secondary_labels=_list(_first_value(row, _SECONDARY)),
        window=window_of(row, group),
        masks=(str(_existing(table, mask)),) if mask else (),
    )


def _shown_name(given: str, number: int) -> str:
    """The path as it is given, without the folders of this machine where it is absolute."""
    if not given:
        return f"row-{number}"
    return f"{number}-{Path(given).name}" if Path(given).is_absolute() else given


def _existing(table: Path, given: str) -> Path:
    climbs = Path(os.path.normpath(given)).parts[:1] == (os.pardir,)
    if "\0" in given or (climbs and not Path(given).is_absolute()):
        message = f"{given!r} leaves the table's folder"
        raise ValueError(message)
    path = table.parent / given
    try:
        if path.is_file():
            return path.absolute()
    except OSError as error:  # a name too long, a circle of links
        message = f"{given[:80]!r}: {error.strerror}"
        raise ValueError(message) from error
    message = f"no file {path.name}"
    raise ValueError(message)


def _kind(path: Path) -> Kind:
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return "nifti"
    return "image" if path.suffix.lower() in SUFFIXES else "dicom"


def _first_value(row: dict[str, Any], columns: Iterable[str]) -> Any:
    return next((row[name] for name in columns if name in row), None)


def _list(value: Any) -> tuple[str, ...]:
    """A list, the JSON text of one, or text with `;` or `|` between entries."""
    if value is None or isinstance(value, (int, float)):
        return ()
    entries: Iterable[Any] = value
    if isinstance(value, str):
        entries = value.replace("|", ";").split(";")
        if value.strip().startswith("["):
            with contextlib.suppress(ValueError):
                entries = parse_json(value)
    return tuple(text for one in entries if (text := str(one).strip()))
