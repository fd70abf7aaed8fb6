"""Records of one folder, read one after the other; what is refused is reported, not raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...harness.errors import MedbenchError
from ...harness.record_files import Problem, Stored, load_record, record_files, record_path


@dataclass(slots=True)
class Folder:
    """The records of one task on one dataset's folder."""

    stored: list[Stored] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def folders(results: Path) -> list[list[Path]]:
    """Record files, those of one task and dataset folder together, sorted."""
    found: dict[Path, list[Path]] = {}
    for path in record_files(results):
        found.setdefault(path.parent.parent, []).append(path)
    return list(found.values())


def read_folder(results: Path, paths: Sequence[Path]) -> Folder:
    """Load every record of a folder that can be shown.

    A record must lie where its content says, so that a folder holds all records of its boards
    and none twice.
    """
    folder = Folder()
    for path in paths:
        try:
            stored = Stored(path, load_record(path))
        except MedbenchError as error:
            folder.problems.append(Problem(path, str(error)))
            continue
        record = stored.record
        home = record_path(
            results,
            task=record.task,
            dataset_id=record.dataset.id,
            tokenizer=record.full_name,
            key8=record.identity.key8,
        )
        if path == home:
            folder.stored.append(stored)
        else:
            reason = (
                f"lies in the wrong place: its content belongs to "
                f"{home.relative_to(results).as_posix()}; copy results as `medbench run` wrote them"
            )
            folder.problems.append(Problem(path, reason))
    return folder
