"""Kept images as WebDataset shards: `00000012.png` and `00000012.json`, in the index's order."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from ..files import atomic_writer, canonical_json
from .unit import Row

SHARD_IMAGES = 10_000
SHARD_BYTES = 512 * 2**20
_FIELDS = (
    "id",
    "source",
    "source_file",
    "volume",
    "plane",
    "slice",
    "patient",
    "modality",
    "label",
    "caption",
    "sha256",
    "window_low",
    "window_high",
    "bias",
)


def pack(rows: Sequence[Row], staging: Path, out: Path) -> list[Row]:
    """Write the shards from the staged files; the rows come back with shard and member.

    The bytes of a shard depend on nothing but the rows: no times, no users.
    """
    packed: list[Row] = []
    kept = [row for row in rows if row.kept]
    place = {row.id: number for number, row in enumerate(kept)}
    for number, group in enumerate(_groups(kept, staging)):
        name = f"shard-{number:06d}.tar"
        with atomic_writer(out / name) as file:
            _write(file, group, staging, place)
        packed.extend(replace(r, path=name, member=f"{place[r.id]:08d}.png") for r in group)
    by_id = {row.id: row for row in packed}
    return [by_id.get(row.id, row) for row in rows]


def _groups(kept: Sequence[Row], staging: Path) -> list[list[Row]]:
    groups: list[list[Row]] = []
    size = 0
    for row in kept:
        bytes_ = (staging / str(row.path)).stat().st_size
        if not groups or len(groups[-1]) >= SHARD_IMAGES or size + bytes_ > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += bytes_
    return groups


def _write(file: IO[bytes], group: Sequence[Row], staging: Path, place: dict[str, int]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in group:
            key = f"{place[row.id]:08d}"
            facts = {name: getattr(row, name) for name in _FIELDS}
            facts = {name: value for name, value in facts.items() if value is not None}
            _add(tar, f"{key}.png", (staging / str(row.path)).read_bytes())
            _add(tar, f"{key}.json", canonical_json(facts).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
