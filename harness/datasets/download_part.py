"""A file that is still being downloaded: its bytes so far, and whose they are."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import write_json


@dataclass(frozen=True, slots=True)
class Note:
    """What the server said about the file of which a part is here."""

    url: str
    etag: str | None
    modified: str | None
    size: int | None

    def agrees(self, other: Note) -> bool:
        """Whether nothing that both state differs."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return all(mine == theirs for mine, theirs in pairs if None not in (mine, theirs))


@dataclass(frozen=True, slots=True)
class Part:
    """The incomplete file and its note."""

    path: Path
    note_path: Path

    @classmethod
    def beside(cls, place: Path) -> Part:
        """The part of the file that will be at `place`."""
        path = place.with_name(f".{place.name}.part")
        return cls(path, path.with_name(f"{path.name}.json"))

    def received(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self) -> Note | None:
        """What was noted; None where nothing legible is."""
        try:
            return Note(**json.loads(self.note_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def restart(self, note: Note | None = None) -> None:
        """Drop the bytes; remember another file, or none."""
        os.truncate(self.path, 0)
        if note is None:
            self.note_path.unlink(missing_ok=True)
        else:
            write_json(self.note_path, asdict(note))


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """Refuse before the first byte what cannot fit.

    Raises:
        UsageError: fewer than `needed` bytes are free on the disk of `folder`.
    """
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        message = (
            f"{what} needs {needed / 1e9:.3f} GB more in {folder}, where {free / 1e9:.3f} GB are "
            "free. Free space, or set MEDBENCH_DATA to another disk."
        )
        raise UsageError(message)
