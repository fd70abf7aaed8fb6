"""Arrays with a row per image, made once by a tokenizer, kept in the cache and memory-mapped.

Features for probes, tokens for a language model and codes for a generator all lie so. A finished
entry is `array.npy` and `facts.json`, written last. Until then there are shards of 64 images, each
written atomically, so that a killed run goes on, and several ranks share the work. An entry is
used only if its facts are those that are asked for, if the file has the recorded hash, and if two
of its rows are still what the tokenizer gives: a name or a file that stays the same while the code
behind it changes is found by that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from . import ranks
from .errors import RunAgain, UsageError
from .files import atomic_writer, hash_value, write_json
from .locations import cache_root
from .passing import run_again_if_passing
from .shards import SHARD_IMAGES, Arrays, read_arrays, tracked, write_arrays

logger = logging.getLogger(__name__)

SAME = 0.05
"""Largest relative difference between kept rows and those of now. A code that falls to its
neighbour, because another batch size rounds otherwise, moves features by less."""

Compute = Callable[[int, int, Sequence[str]], Arrays]
"""(start, stop, names) -> an array for each of the names, a row for each image of the range."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """An array of the cache.

    Attributes:
        rows: (N, …), memory-mapped.
        seconds: that making it took, whenever that was.
        fresh: it was made just now.
        sha256: of the rows; what is made of them can be named by it.
    """

    rows: np.ndarray
    seconds: float
    fresh: bool
    sha256: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Arrays that one pass over the images makes together.

    Attributes:
        place: below the cache root, for all arrays of this kind.
        what: they are, for messages: "features of meditok@tiny".
        facts: all that each array depends on, JSON-able, by the array's name.
        count: images.
        compute: makes them.
        alike: whether rows of an array that were kept are those that were made now, both (n, …);
            None where nobody asks.
    """

    place: Path
    what: str
    facts: Mapping[str, Mapping[str, Any]]
    count: int
    compute: Compute
    alike: Callable[[np.ndarray, np.ndarray], bool] | None


def nearly_equal(kept: np.ndarray, now: np.ndarray) -> bool:
    """Whether the difference of each row is small against it: `SAME`."""
    kept, now = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (kept, now))
    difference = np.linalg.norm(now - kept, axis=1)
    return bool((difference <= SAME * np.linalg.norm(kept, axis=1)).all())


def mostly_equal(kept: np.ndarray, now: np.ndarray) -> bool:
    """Whether few codes of each row differ: another batch size may round to a neighbour."""
    differs = (np.asarray(kept) != np.asarray(now)).reshape(len(kept), -1)
    return bool((differs.mean(axis=1) <= SAME).all())


def kept_arrays(wanted: Wanted) -> dict[str, Kept]:
    """The arrays, from the cache where it has them, by name.

    Raises:
        UsageError: the cache cannot be written, with how much space is needed.
        RunAgain: a shard is gone that was there, or the machine failed while one was read.
        MedbenchError: what `compute` raises.
    """
    entries = {name: _Entry(wanted, name) for name in wanted.facts}
    try:
        missing = ranks.first(lambda: [n for n, entry in entries.items() if not entry.usable()])
        if missing:
            _make({name: entries[name] for name in missing}, wanted)
    except UsageError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        message = f"{error} {wanted.what} are kept below MEDBENCH_CACHE ({cache_root()})."
        raise UsageError(message) from error
    return {name: entry.open(fresh=name in missing) for name, entry in entries.items()}


def _make(entries: Mapping[str, _Entry], wanted: Wanted) -> None:
    """Make what is missing, in one pass, whose shards are dealt over the ranks."""
    name = hash_value([str(entry.folder.name) for entry in entries.values()])[:32]
    with ranks.alone(f"arrays-{name}", wanted.what):
        # Whoever waited for another process finds its work done.
        due = ranks.first(lambda: [n for n, e in entries.items() if not e.ready_to_go_on()])
        if due:
            ranks.together(lambda: _write_shards([entries[n] for n in due], wanted))
            ranks.first(lambda: [entries[n].finish() for n in due])


def _write_shards(entries: Sequence[_Entry], wanted: Wanted) -> None:
    starts = range(0, wanted.count, SHARD_IMAGES)[ranks.own() :: ranks.count()]
    for start in tracked(starts, wanted.count, wanted.what):
        due = [entry for entry in entries if read_arrays(entry.shard(start)) is None]
        if not due:
            continue
        begun = time.perf_counter()
        stop = min(start + SHARD_IMAGES, wanted.count)
        arrays = wanted.compute(start, stop, [entry.name for entry in due])
        seconds = np.array(time.perf_counter() - begun)
        for entry in due:
            rows = arrays[entry.name]
            entry.require_space(rows.nbytes // len(rows))
            write_arrays(entry.shard(start), {"rows": rows, "seconds": seconds})


class _Entry:
    """One array: a folder of the cache."""

    def __init__(self, wanted: Wanted, name: str) -> None:
        self.name, self._wanted = name, wanted
        self._facts = {"format": 1, "count": wanted.count, **wanted.facts[name]}
        self.folder = wanted.place / hash_value(self._facts)[:32]

    @property
    def _path(self) -> Path:
        return self.folder / "array.npy"

    def shard(self, start: int) -> Path:
        """Where the shard that begins with this image lies."""
        return self.folder / "shards" / f"shard-{start // SHARD_IMAGES:05d}.npz"

    def usable(self) -> bool:
        """Whether there is a finished entry that can be trusted."""
        return self._why_not() is None

    def ready_to_go_on(self) -> bool:
        """`usable`; else what cannot be gone on from is thrown away. Only under the lock.

        That is a finished entry that cannot be trusted, and shards of a killed run of other code.
        """
        why_not = self._why_not()
        if why_not is None:
            return True
        if why_not:
            logger.warning("%s is not used (%s); computed again", self.folder, why_not)
        arrays = read_arrays(self.shard(0))
        if arrays is None or self._strange(arrays["rows"][:1], [0]):
            shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def _why_not(self) -> str | None:
        """Why there is nothing to use: empty where nothing is finished; None where there is."""
        try:
            facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
            return self._problem(facts, np.load(self._path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, SyntaxError, TokenError) as error:
            run_again_if_passing(error, self.folder)
            return str(error) or type(error).__name__

    def require_space(self, row_bytes: int) -> None:
        """Refuse to begin what cannot end: shards and the whole lie side by side for a moment."""
        if self.folder.exists():
            return
        self.folder.mkdir(parents=True)
        needed = 2 * self._wanted.count * row_bytes
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            message = (
                f"{self._wanted.what}: {self.name!r} of {self._wanted.count:,} images need "
                f"{needed / 1e9:.2f} GB below {cache_root()}, and {free / 1e9:.2f} GB are free. "
                "Free space, set MEDBENCH_CACHE to another place, or use --limit."
            )
            raise UsageError(message)

    def finish(self) -> None:
        """Shards to one array.

        Where a file system has no locks, another process may have finished the same entry and
        taken the shards away: then that is the result.
        """
        try:
            self._join_shards()
        except RunAgain:
            if not self.usable():
                raise
        shutil.rmtree(self.folder / "shards", ignore_errors=True)

    def _join_shards(self) -> None:
        """Write the array, and the facts last."""
        digest, seconds, shape, dtype = hashlib.sha256(), 0.0, [0], ""
        with atomic_writer(self._path) as file:
            for start in range(0, self._wanted.count, SHARD_IMAGES):
                arrays = read_arrays(self.shard(start))
                if arrays is None:
                    message = f"{self.shard(start)} vanished or is damaged. Run again."
                    raise RunAgain(message)
                rows = np.ascontiguousarray(arrays["rows"])
                if not dtype:
                    dtype = np.lib.format.dtype_to_descr(rows.dtype)
                    shape = [self._wanted.count, *rows.shape[1:]]
                    header = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(rows.data)
                digest.update(rows.data)
                seconds += float(arrays["seconds"])
        found = {"shape": shape, "dtype": dtype, "sha256": digest.hexdigest(), "seconds": seconds}
        write_json(self.folder / "facts.json", self._facts | found)

    def open(self, *, fresh: bool) -> Kept:
        """The finished array."""
        facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        rows = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return Kept(rows, float(facts["seconds"]), fresh, str(facts["sha256"]))

    def _problem(self, facts: Mapping[str, Any], rows: np.ndarray) -> str | None:
        other = [name for name, value in self._facts.items() if facts[name] != value]
        if other:
            return f"another {', '.join(other)}"
        if list(rows.shape) != facts["shape"] or len(rows) != self._wanted.count:
            return f"shape {rows.shape}"
        if np.lib.format.dtype_to_descr(rows.dtype) != facts["dtype"]:
            return f"type {rows.dtype}"
        digest = hashlib.sha256()
        for start in range(0, len(rows), SHARD_IMAGES):
            digest.update(np.ascontiguousarray(rows[start : start + SHARD_IMAGES]).data)
        if digest.hexdigest() != facts["sha256"]:
            return "damaged"
        ends = sorted({0, len(rows) - 1})
        return self._strange(rows[ends], ends)

    def _strange(self, kept: np.ndarray, chosen: list[int]) -> str | None:
        """Why the kept rows of the chosen images are not those of now; None where they are."""
        if self._wanted.alike is None:
            return None
        made = [self._wanted.compute(row, row + 1, [self.name])[self.name] for row in chosen]
        now = np.concatenate(made)
        if now.shape != kept.shape:
            return f"the tokenizer gives {now.shape[1:]} for an image now"
        return None if self._wanted.alike(kept, now) else "the tokenizer gives other values now"
