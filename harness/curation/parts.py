"""Work in parts that survive a kill: each part's images first, then its line in the journal.

A part is one volume or up to 64 images. Its journal file is named after what went in, so a
restart redoes only what is missing, and notices sources that changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..cluster import Cluster
from ..errors import CellFailed, MedbenchError, UsageError
from ..files import hash_value, write_bytes, write_json
from ..progress import track
from .unit import Candidate, Row, Settings, Unit
from .work import candidates

PART_IMAGES = 64
_RETRIES = 3
"""Of a part whose node is lost."""
SHEET_IMAGES = 10
"""Of each kind and source on a sheet."""


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive units that are done together."""

    name: str
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Hands:
    """Who does the parts.

    Attributes:
        workers: processes of this machine; with one, no other process is started.
        cluster: does them in their place; its nodes share sources and output.
    """

    workers: int = 1
    cluster: Cluster | None = None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture that may come onto a sheet."""

    source: str
    reason: str | None
    """None where the image is kept."""
    rank: str
    """The smallest are taken."""
    png: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """What the journal says of one part."""

    rows: tuple[Row, ...]
    thumbnails: tuple[Thumbnail, ...]


def divide(units: Sequence[Unit]) -> list[Part]:
    """Parts in the order of the units; names say number and content."""
    groups: list[list[Unit]] = []
    for unit in units:
        room = groups and groups[-1][0].kind == "image" and len(groups[-1]) < PART_IMAGES
        if unit.kind == "image" and room:
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return [
        Part(f"{number:07d}-{_fingerprint(group)[:16]}", tuple(group))
        for number, group in enumerate(groups)
    ]


def _fingerprint(units: Sequence[Unit]) -> str:
    return hash_value([[_described(unit), _stamps(unit)] for unit in units])


def _described(unit: Unit) -> dict[str, Any]:
    facts = asdict(unit)
    return {name: value for name, value in facts.items() if name not in {"files", "masks"}}


def _stamps(unit: Unit) -> list[list[int] | None]:
    found = []
    for file in (*unit.files, *unit.masks):
        try:
            stat = Path(file).stat()
            found.append([stat.st_size, stat.st_mtime_ns])
        except OSError:
            found.append(None)
    return found


def do_parts(
    parts: Sequence[Part], settings: Settings, *, target: Path, journal: Path, hands: Hands
) -> None:
    """Do what the journal does not hold yet; the order of the workers changes nothing.

    Args:
        parts: all parts of the run.
        settings: what decides.
        target: folder that the images go below.
        journal: folder of the journal files.
        hands: who does it.

    Raises:
        CellFailed: a worker process died.
        UsageError: the journal holds parts that the sources no longer give.
    """
    wanted = {part.name for part in parts}
    present = {path.stem for path in journal.glob("*.json")} if journal.is_dir() else set()
    if present - wanted:
        message = (
            f"{journal.parent.parent}: the sources changed since this run began "
            f"({len(present - wanted)} parts of {len(parts)}). Begin again with another --out."
        )
        raise UsageError(message)
    todo = [part for part in parts if part.name not in present]
    if hands.cluster is not None:
        finished = _on_cluster(todo, settings, target, journal, cluster=hands.cluster)
    elif hands.workers == 1 or len(todo) < 2:
        finished = _one_by_one(todo, settings, target, journal)
    else:
        finished = _in_pool(todo, settings, target, journal, workers=hands.workers)
    for _ in track(finished, total=len(parts), label="curate", done=len(parts) - len(todo)):
        pass


def _one_by_one(
    todo: Sequence[Part], settings: Settings, target: Path, journal: Path
) -> Iterator[None]:
    for part in todo:
        yield do_part(part, settings, target, journal)


def _on_cluster(
    todo: Sequence[Part], settings: Settings, target: Path, journal: Path, *, cluster: Cluster
) -> Iterator[None]:
    terms = {"settings": settings, "target": target, "journal": journal}
    calls = [{"part": part, **terms} for part in todo]
    for end in cluster.each(do_part, calls, retries=_RETRIES, resources={"num_cpus": 1}):
        if isinstance(end.problem, MedbenchError):
            raise end.problem
        if end.problem is not None:
            message = (
                f"part {todo[end.place].name} was lost on the cluster ({end.problem}); finished "
                "parts are kept. Give the same command again."
            )
            raise CellFailed(message)
        yield None


def _in_pool(
    todo: Sequence[Part], settings: Settings, target: Path, journal: Path, *, workers: int
) -> Iterator[None]:
    pool = ProcessPoolExecutor(
        min(workers, len(todo)),
        mp_context=get_context("spawn"),
        initializer=_leave_with,
        initargs=(os.getpid(),),
    )
    try:
        futures = [pool.submit(do_part, part, settings, target, journal) for part in todo]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        message = (
            "a worker process died, most likely for lack of memory; finished parts are kept. "
            "Give the same command with fewer --workers."
        )
        raise CellFailed(message) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_with(parent: int) -> None:
    """Let this worker end when the process that started it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def do_part(part: Part, settings: Settings, target: Path, journal: Path) -> None:
    """Write the images of one part, then its journal file."""
    rows: list[Row] = []
    small: list[Thumbnail] = []
    for unit in part.units:
        for candidate in candidates(unit, settings):
            for path, data in candidate.files.items():
                write_bytes(target / path, data)
            rows.append(candidate.row)
            small.extend(_thumbnail(candidate, settings.seed))
    chosen = pick(small)
    value = {
        "rows": [asdict(row) for row in rows],
        "thumbnails": [
            {**asdict(one), "png": base64.b64encode(one.png).decode()} for one in chosen
        ],
    }
    write_json(journal / f"{part.name}.json", value)


def _thumbnail(candidate: Candidate, seed: int) -> list[Thumbnail]:
    if candidate.thumbnail is None:
        return []
    row = candidate.row
    rank = hashlib.sha256(f"{seed} {row.id}".encode()).hexdigest()
    return [Thumbnail(row.source, row.reason, rank, candidate.thumbnail)]


def pick(thumbnails: Sequence[Thumbnail]) -> list[Thumbnail]:
    """At most ten of each source and reason (and of the kept), those of smallest rank."""
    taken: dict[tuple[str, str | None], int] = {}
    chosen = []
    for one in sorted(thumbnails, key=lambda t: (t.source, t.reason or "", t.rank)):
        key = (one.source, one.reason)
        if taken.get(key, 0) < SHEET_IMAGES:
            taken[key] = taken.get(key, 0) + 1
            chosen.append(one)
    return chosen


def read_done(parts: Sequence[Part], journal: Path) -> Done:
    """All rows in the order of the parts, and the thumbnails picked from all."""
    rows: list[Row] = []
    small: list[Thumbnail] = []
    for part in parts:
        value = json.loads((journal / f"{part.name}.json").read_text(encoding="utf-8"))
        rows.extend(Row(**{**row, "masks": tuple(row["masks"])}) for row in value["rows"])
        small += [
            Thumbnail(**{**one, "png": base64.b64decode(one["png"])}) for one in value["thumbnails"]
        ]
        small = pick(small)
    return Done(tuple(rows), tuple(small))
