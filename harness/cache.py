"""What the cache holds, by kind, and how parts of it are removed.

Everything here can be made again, so removing is safe, with three exceptions that are never
touched: what a living process has open, what is being written at this moment, and what medbench
did not put there. An entry is renamed first and deleted then: nobody finds half of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .locations import cache_root, data_root, weights_root

KINDS = {
    "images": "ingested data sets: pixels as they are measured",
    "npz": "unpacked arrays of npz files",
    "features": "features of original images",
    "probe-features": "what tokenizers make of labelled images, for probes",
    "bounds": "scores of the trivial bounds",
    "batch-sizes": "how many images of a tokenizer fitted into a device's memory at once",
    "image-tokens": "what tokenizers make of images, for a language model",
    "tokens": "codes of images, that generators learn from",
    "generators": "trained generators of codes",
    "samples": "codes that generators drew",
    "classifiers": "small networks that name images",
    "audit-signatures": "what data audit has computed of each image",
    "file-hashes": "SHA-256 of files, so that none is read twice",
    "vqa": "language models and projectors that were taught to answer",
    "pools": "procedural images that networks are trained on",
    "locks": "held while one of the others is made",
    "tar-index": "where the members of WebDataset shards lie",
    "lists": "tables and shards that networks are trained on, row by row",
    "intensities": "what prepared training images show through a window",
    "weights": "downloaded weights; removed only by --kind weights",
}
"""Folders and files of the cache root that medbench makes."""

_FILES = {
    "audit-signatures": "audit-signatures.sqlite",
    "file-hashes": "file-hashes.sqlite",
}
"""Kinds that are one file, with the journals beside it."""

_NOT_WITH_ALL = frozenset({"weights"})
_TRASH = ".trash-"
_FRESH_SECONDS = 600.0
"""Work in shards leaves no file open between two of them; younger ones may still be needed."""
_DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is kept or removed as a whole."""

    kind: str
    path: Path
    size_bytes: int
    """On disk."""
    used: float
    """Seconds since the epoch: last read or written, as the file system tells."""
    written: float


@dataclass(frozen=True, slots=True)
class Contents:
    """All that lies in the cache root."""

    root: Path
    entries: tuple[Entry, ...]
    unknown: tuple[Path, ...]
    """What medbench did not put there (or another version of it did)."""

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command wants removed."""

    kinds: tuple[str, ...] = ()
    """Empty: all but weights."""
    older_than_days: float = 0.0
    """Not used for as long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go, and what has to stay for now."""

    removed: tuple[Entry, ...]
    kept: tuple[tuple[Entry, str], ...]
    """Chosen, but in use; with the reason."""

    @property
    def size_bytes(self) -> int:
        """That removing frees."""
        return sum(entry.size_bytes for entry in self.removed)


def contents(root: Path | None = None) -> Contents:
    """Look through the cache root; symbolic links are not followed.

    Raises:
        UsageError: the cache root cannot be read, or lies in the data root.
    """
    root = root or cache_root()
    if not root.exists():
        return Contents(root, (), ())
    entries: list[Entry] = []
    unknown: list[Path] = []
    kind_of_file = {name: kind for kind, name in _FILES.items()}
    try:
        for path in sorted(root.iterdir()):
            base = path.name.removesuffix("-journal").removesuffix("-wal").removesuffix("-shm")
            if base in kind_of_file and not path.is_symlink():
                entries.append(_entry(kind_of_file[base], path))
            elif path.name in KINDS and path.name not in _FILES and _is_plain_folder(path):
                entries += [_entry(path.name, each) for each in sorted(path.iterdir())]
            elif not path.name.startswith(_TRASH):
                unknown.append(path)
    except OSError as error:
        message = f"cannot read the cache {root}: {error.strerror or error}"
        raise UsageError(message) from error
    return Contents(root, tuple(entries), tuple(unknown))


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _entry(kind: str, path: Path) -> Entry:
    size, used, written = 0, 0.0, 0.0
    for stat in _stats(path):
        size += getattr(stat, "st_blocks", 0) * 512 or stat.st_size
        used = max(used, stat.st_atime, stat.st_mtime)
        written = max(written, stat.st_mtime)
    return Entry(kind, path, size, used, written)


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of the files below a path, or of the path where there is none."""
    found = False
    if _is_plain_folder(path):
        for folder, _folders, files in os.walk(path):
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    yield (Path(folder) / name).lstat()
                    found = True
    if not found:
        with contextlib.suppress(FileNotFoundError):
            yield path.lstat()


def plan(found: Contents, wanted: Selection, *, now: float | None = None) -> Plan:
    """Which entries go, and which of the chosen ones are in use.

    Raises:
        UsageError: a kind that medbench does not know.
    """
    for kind in wanted.kinds:
        if kind not in KINDS:
            message = f"--kind {kind!r}: no such kind; known: {', '.join(KINDS)}"
            raise UsageError(message)
    now = time.time() if now is None else now
    kinds = wanted.kinds or tuple(kind for kind in KINDS if kind not in _NOT_WITH_ALL)
    oldest = now - wanted.older_than_days * _DAY_SECONDS
    # A time in the future is a wrong clock's, and says nothing: as if used just now.
    chosen = [e for e in found.entries if e.kind in kinds and min(e.used, now) <= oldest]
    opened = _open_files(found.root) if chosen else frozenset()
    removed: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    for entry in chosen:
        reason = _in_use(entry, opened, now)
        if reason:
            kept.append((entry, reason))
        else:
            removed.append(entry)
    return Plan(tuple(removed), tuple(kept))


def _in_use(entry: Entry, opened: frozenset[Path] | None, now: float) -> str | None:
    for root in (weights_root(), data_root()):
        if root is not None and root.resolve().is_relative_to(entry.path.resolve()):
            return f"{root}, which is no part of the cache, lies in it"
    if opened and any(path == entry.path or entry.path in path.parents for path in opened):
        return "a running process has it open"
    being_written = entry.path.name.startswith(".") or entry.kind in {
        "features",
        "probe-features",
        "image-tokens",
        "bounds",
        "tokens",
        "generators",
        "samples",
        "classifiers",
        "vqa",
    }
    if (being_written or opened is None) and abs(now - entry.written) < _FRESH_SECONDS:
        return f"written less than {_FRESH_SECONDS / 60:.0f} minutes ago, perhaps by a running one"
    return None


def _open_files(root: Path) -> frozenset[Path] | None:
    """Files below `root` that processes of this user have open or mapped; None: cannot be known."""
    processes = Path("/proc")
    if not (processes / "self" / "fd").is_dir():
        return None
    below = f"{root.resolve()}{os.sep}"
    names: set[str] = set()
    for process in processes.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for line in (process / "maps").read_text(errors="surrogateescape").splitlines():
                name = line[line.find("/") :] if "/" in line else ""
                if name.startswith(below):
                    names.add(name)
        with contextlib.suppress(OSError):
            for link in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(link)  # noqa: PTH115 (a deleted file's name is no path)
                    if target.startswith(below):
                        names.add(target)
    return frozenset(root / name.removeprefix(below) for name in names)


def prune(found: Contents, chosen: Plan) -> int:
    """Remove the planned entries; returns the bytes that were freed.

    Raises:
        UsageError: an entry is not inside the cache root, or cannot be removed.
    """
    _sweep(found.root)
    freed = 0
    for entry in chosen.removed:
        _check_inside(found.root, entry.path)
        try:
            # Renamed within one file system, it vanishes at once for every reader to come; who
            # has it open or mapped keeps the content until closing it.
            aside = Path(tempfile.mkdtemp(prefix=_TRASH, dir=found.root))
            entry.path.rename(aside / entry.path.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"cannot remove {entry.path}: {error.strerror or error}"
            raise UsageError(message) from error
        finally:
            _sweep(found.root)
        freed += entry.size_bytes
    return freed


def _check_inside(root: Path, path: Path) -> None:
    if path == root or not path.parent.resolve().is_relative_to(root.resolve()):
        message = f"{path} does not lie inside the cache {root}: it is not removed"
        raise UsageError(message)


def _sweep(root: Path) -> None:
    """Delete what was renamed aside, now or by a command that was killed."""
    for path in root.glob(f"{_TRASH}*"):
        shutil.rmtree(path, ignore_errors=True)
