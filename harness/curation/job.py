"""A whole run: sources to parts, parts to images, then shards, sheets, tables and counts.

`report.json` is written last: where it is present, the run is complete. Until then the folder
`.curation` holds the journal (and, for shards, the images to be packed).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import hash_value, write_json
from .index import check_unique, counts, write_mask_tables, write_tables
from .parts import Hands, Part, divide, do_parts, read_done
from .shards import pack
from .sheets import write_sheets
from .sources import roots_of, units_of, with_masks
from .unit import Settings

SETTINGS_FILE = "curation.json"
REPORT_FILE = "report.json"
WORKING_FOLDER = ".curation"


@dataclass(frozen=True, slots=True)
class Job:
    """What to curate, how, and where to."""

    sources: tuple[str, ...]
    out: Path
    settings: Settings
    masks: tuple[Path, ...] = ()
    hands: Hands = field(default_factory=Hands)
    data_root: Path | None = None


def run(job: Job) -> dict[str, Any]:
    """Do what is missing and return the counts; a complete run is answered from its report.

    Raises:
        MissingPrerequisite: a source, a mask folder or nibabel is absent.
        UsageError: `out` belongs to another run or to none, it lies in a source, the sources
            changed, or a source is nothing that can be read.
    """
    out = job.out.expanduser().absolute()
    _check_apart(out, job)
    units = with_masks(units_of(job.sources, data_root=job.data_root), job.masks)
    parts = divide(units)
    _claim(out, job, sorted({unit.source for unit in units}))
    identity = hash_value([part.name for part in parts])
    report = _finished(out, identity)
    if report is None:
        _sweep(out)
        report = _work(out, parts, job, identity)
    shutil.rmtree(out / WORKING_FOLDER, ignore_errors=True)
    return report


def _check_apart(out: Path, job: Job) -> None:
    for root in (*roots_of(job.sources, data_root=job.data_root), *job.masks):
        if out.resolve().is_relative_to(root.resolve()):
            message = f"--out {out} lies in the source {root}. Choose a place outside of it."
            raise UsageError(message)


def _claim(out: Path, job: Job, sources: Sequence[str]) -> None:
    """Take an empty or new folder, or one that holds a run of the same settings."""
    settings = job.settings
    asked = {
        "rules": settings.rules,
        "format": settings.format,
        "preset": settings.preset,
        "tags": list(settings.tags),
        "captions": settings.captions,
        "masks": [folder.name for folder in job.masks],
        "seed": settings.seed,
        "sources": list(sources),
        "thresholds": settings.thresholds.model_dump(mode="json"),
    }
    path = out / SETTINGS_FILE
    if not path.exists():
        if out.exists() and not (out.is_dir() and _only_begun(out)):
            message = f"--out {out} is not empty and holds no curation run. Choose a new folder."
            raise UsageError(message)
        write_json(path, asked)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: not readable ({error}). Begin again with another --out."
        raise UsageError(message) from error
    different = [name for name in asked if found.get(name) != asked[name]]
    if different:
        shown = "; ".join(
            f"{name}: {found.get(name)!r} there, {asked[name]!r} asked"
            if name != "thresholds"
            else "thresholds"
            for name in different
        )
        message = f"--out {out} holds a run with other settings ({shown}). Choose another --out."
        raise UsageError(message)


def _only_begun(out: Path) -> bool:
    """Whether nothing lies there but what a killed run had begun to write first."""
    return all(path.match(f".{SETTINGS_FILE}.*.part") for path in out.iterdir())


def _finished(out: Path, identity: str) -> dict[str, Any] | None:
    path = out / REPORT_FILE
    if not path.exists():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if report["parts"] != identity:
        message = f"{out}: the sources changed since this run ended. Choose another --out."
        raise UsageError(message)
    return report


def _sweep(out: Path) -> None:
    """Remove what a killed process left half written."""
    for leftover in out.rglob(".*.part"):
        leftover.unlink(missing_ok=True)


def _work(out: Path, parts: Sequence[Part], job: Job, identity: str) -> dict[str, Any]:
    settings = job.settings
    working = out / WORKING_FOLDER
    staging = working / "staging" if settings.format == "wds" else out
    journal = working / "journal"
    do_parts(parts, settings, target=staging, journal=journal, hands=job.hands)
    done = read_done(parts, journal)
    rows = list(done.rows)
    check_unique(rows)
    if settings.format == "wds":
        rows = pack(rows, staging, out)
    write_sheets(done.thumbnails, out)
    write_tables(rows, out)
    if settings.rules == "sa-med2d":
        write_mask_tables(rows, out)
    report = {**counts(rows, settings), "parts": identity}
    write_json(out / REPORT_FILE, report)
    return report
