"""Read every image once and keep its signature."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import MedbenchError
from ..progress import track
from .memory import Memory, entry_key, open_memory
from .signature import Signature, sign
from .sources import Entry

_AHEAD = 64
"""Images in memory at once at most, and signatures written together."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """An image that could be read."""

    entry: Entry
    signature: Signature


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """All images of an audit, in the order of the sources."""

    images: tuple[Scanned, ...]
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    outcome: Scanned | Unreadable
    key: str | None
    """To be remembered under; None where it was remembered, or must not be."""


def scan(entries: Sequence[Entry]) -> Scan:
    """Make or recall the signature of each entry; unreadable images are named, not fatal.

    Private entries are neither looked up nor remembered, and their files' hashes are not taken.
    """
    images: list[Scanned] = []
    unreadable: list[Unreadable] = []
    with open_memory() as memory:
        made = _outcomes(entries, memory)
        for each in track(made, total=len(entries), label="reading images"):
            if isinstance(each, Scanned):
                images.append(each)
            else:
                unreadable.append(each)
    return Scan(tuple(images), tuple(unreadable))


def _outcomes(entries: Sequence[Entry], memory: Memory) -> Iterator[Scanned | Unreadable]:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(entries), _AHEAD):
            chunk = entries[start : start + _AHEAD]
            known = [None if e.place.private else _recalled(e, memory) for e in chunk]
            made = list(pool.map(_make, chunk, known))
            memory.remember(
                [
                    (each.key, each.outcome.signature)
                    for each in made
                    if each.key is not None and isinstance(each.outcome, Scanned)
                ]
            )
            yield from (each.outcome for each in made)


@dataclass(frozen=True, slots=True)
class _Recalled:
    key: str | None
    signature: Signature | None


def _recalled(entry: Entry, memory: Memory) -> _Recalled:
    try:
        key = entry_key(entry)
    except MedbenchError:
        return _Recalled(None, None)  # loading it will say why
    return _Recalled(key, memory.recall(key))


def _make(entry: Entry, known: _Recalled | None) -> _Made:
    if known is not None and known.signature is not None:
        return _Made(Scanned(entry, known.signature), None)
    try:
        signature = sign(entry.item.load().rgb)
    except MedbenchError as error:
        return _Made(Unreadable(entry, str(error)), None)
    return _Made(Scanned(entry, signature), known.key if known is not None else None)
