"""Which records may share a table, and which of them may be ranked together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..harness.record import Record
from .ranking import RANKED_KINDS
from .trust import TRACKS, Track, track_of


def boards(records: Iterable[Record]) -> list[list[Record]]:
    """Records that may share a table: same task, same images, same definitions.

    A definition hash that two records both carry must agree; otherwise they are kept apart, so
    that values of different definitions are never ranked together.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.dataset.id, r.full_name, r.identity.key8))
    tables: list[_Table] = []
    of_data: dict[tuple[str, str, str], list[_Table]] = {}
    for record in ordered:
        data = (record.task, record.dataset.id, record.dataset.fingerprint)
        known = of_data.setdefault(data, [])
        hashes = {(m.name, m.setting): m.definition_hash for m in record.metrics}
        table = next((t for t in known if t.agrees(hashes)), None)
        if table is None:
            table = _Table()
            known.append(table)
            tables.append(table)
        table.records.append(record)
        table.hashes.update(hashes)
    return [table.records for table in tables]


@dataclass(slots=True)
class _Table:
    records: list[Record] = field(default_factory=list)
    hashes: dict[tuple[str, str], str] = field(default_factory=dict)

    def agrees(self, hashes: dict[tuple[str, str], str]) -> bool:
        """Whether no metric that both know has another definition."""
        return all(self.hashes.get(key, value) == value for key, value in hashes.items())


def by_track(board: Sequence[Record]) -> dict[Track, list[Record]]:
    """A board's records per track, each with the reference rows (codecs, bounds); empty ones out.

    Where there are only reference rows, they stand under `own`.
    """
    references = [r for r in board if r.info.kind not in RANKED_KINDS]
    systems = [r for r in board if r.info.kind in RANKED_KINDS]
    tracks: dict[Track, list[Record]] = {}
    for track in TRACKS:
        chosen = [record for record in systems if track_of(record) == track]
        if chosen:
            tracks[track] = [*chosen, *references]
    return tracks or {"own": references}
