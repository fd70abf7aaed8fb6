"""What a job left: whether every file can be read, and whether it is what it should be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from safetensors import safe_open

from medbench.harness.record_files import load_record, record_files

_PICTURES = frozenset({".png", ".jpg", ".webp"})


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that nothing disturbed.

    Attributes:
        facts: what must be the same after any disturbance.
        seconds: that it took.
        out: what it made.
        cache: and its cache.
    """

    facts: dict[str, Any]
    seconds: float
    out: Path
    cache: Path


def facts_of(job: str, out: Path, cache: Path) -> dict[str, Any]:
    """All that follows from the command alone, by name."""
    if job == "ingest":
        return {
            path.relative_to(cache).as_posix(): _hash(path)
            for path in sorted((cache / "images").rglob("*"))
            if path.is_file()
        }
    if job == "train":
        weights = sorted(out.glob("*/weights.safetensors"))
        found: dict[str, Any] = {_name(path, out): _hash(path) for path in weights}
        for path in [*sorted(out.glob("*/curve.jsonl")), *sorted(out.glob("*/validation.jsonl"))]:
            found[_name(path, out)] = [_without_clocks(line) for line in _lines(path)]
        return found
    if job == "curate":
        files = [path for path in sorted(out.rglob("*")) if path.is_file()]
        return {_name(path, out): _hash(path) for path in files}
    found = {}
    for path in record_files(out):
        record = load_record(path)
        found[f"{_name(path, out)}: metrics"] = [asdict(metric) for metric in record.metrics]
        for other in sorted(path.parent.rglob("*")):
            if other.is_file() and other.suffix in {".parquet", *_PICTURES}:
                found[_name(other, out)] = _hash(other)
    return found


def differences(job: str, out: Path, cache: Path, wanted: dict[str, Any]) -> list[str]:
    """What a finished job has otherwise than an undisturbed one; also what cannot be read."""
    found = facts_of(job, out, cache)
    names = [n for n in sorted({*found, *wanted}) if found.get(n) != wanted.get(n)]
    problems = [f"{job}: {name} is not that of the undisturbed run" for name in names]
    if not wanted:
        problems.append(f"{job}: the undisturbed run left nothing")
    left = [
        path
        for path in out.rglob("*")
        if path.is_file() and (path.name.endswith(".part") or ".work" in path.parts)
    ]
    problems += [f"{job}: {_name(path, out)} was left" for path in left]
    return problems + unreadable(out, whole=True)


def unreadable(folder: Path, *, whole: bool = False) -> list[str]:
    """Files with a name that cannot be read; `whole`: growing logs, too, must be complete."""
    problems = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            try:
                _read(path, whole=whole)
            except Exception as error:
                problems.append(f"{path}: {type(error).__name__}: {error}")
    return problems


def _read(path: Path, *, whole: bool) -> None:
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".jsonl" and whole:
        for _ in _lines(path):
            pass
    elif path.suffix == ".parquet":
        pd.read_parquet(path)
    elif path.suffix in _PICTURES:
        Image.open(path).verify()
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="np") as file:
            list(file.keys())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _without_clocks(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if "second" not in name}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
