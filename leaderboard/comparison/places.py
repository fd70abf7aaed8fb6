"""Where systems can be compared, and which of a system's records stands for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...harness.errors import UsageError
from ...harness.record import Metric, Record
from ...harness.record_files import Stored
from ...harness.tables import Column
from ...harness.vocabulary import POOLED
from ..trust import Marks, read_marks, trust_mark

_MEASURED = ("ok", "partial", "suspect")
_DEPTH = 4
"""A record lies at `<results>/task/dataset/tokenizer/file`."""


@dataclass(frozen=True, slots=True)
class Place:
    """The systems measured on one task and dataset."""

    task: str
    dataset: str
    systems: Mapping[str, Sequence[Stored]]
    notes: Sequence[str] = ()
    """What was left out, and why."""

    @property
    def records(self) -> list[Record]:
        """All records of all systems."""
        return [stored.record for records in self.systems.values() for stored in records]


@dataclass(frozen=True, slots=True)
class Topic:
    """One metric of one group on one task and dataset, and the record that each system has for it.

    Attributes:
        place: task, dataset and systems.
        column: the metric.
        group: of the data.
        stored: by the system's name.
        notes: which records were taken or left out, and which are not `ok`, with the reasons.
    """

    place: Place
    column: Column
    group: str
    stored: Mapping[str, Stored]
    notes: Sequence[str]

    @property
    def title(self) -> str:
        """`recon on medsynth: PSNR (dB) ↑ of macro`."""
        return f"{self.place.task} on {self.place.dataset}: {self.column.heading} of {self.group}"

    @property
    def counted(self) -> str:
        """What `n` counts."""
        return "questions" if self.place.task == "vqa" else "images"

    @property
    def units(self) -> str:
        """What is drawn where several of `counted` hang together."""
        return "images" if self.place.task == "vqa" else "patients"

    def metric(self, name: str) -> Metric | None:
        """A system's value; None where it has none."""
        return _valued(self.stored[name], self.column, self.group)

    def label(self, name: str) -> str:
        """The system's name, with the status of a record that is not `ok`."""
        status = _status(self.stored[name].record)
        return name if status == "ok" else f"{name} ({status})"


def places(chosen: Mapping[str, Sequence[Stored]]) -> list[Place]:
    """Task and dataset -> the systems that have a record there, at least two.

    Withdrawn records are left out, with a note.

    Args:
        chosen: records by the name that stands for a system.

    Raises:
        UsageError: fewer than two systems, or none of them measured on the same data.
    """
    if len(chosen) < 2:
        message = f"a comparison needs two systems or more, got {', '.join(chosen) or 'none'}"
        raise UsageError(message)
    marks: dict[Path, Marks] = {}
    found: dict[tuple[str, str, str], dict[str, list[Stored]]] = {}
    notes: dict[tuple[str, str, str], list[str]] = {}
    for name, records in chosen.items():
        for stored in records:
            data = stored.record.dataset
            where = (stored.record.task, data.id, data.fingerprint)
            mark = trust_mark(stored.record, _marks_of(stored, marks))
            if mark.word == "withdrawn":
                why = f": {mark.reason}" if mark.reason else ""
                notes.setdefault(where, []).append(f"{name} is withdrawn and not compared{why}")
            else:
                found.setdefault(where, {}).setdefault(name, []).append(stored)
    shared = [
        Place(where[0], where[1], systems, notes.get(where, []))
        for where, systems in found.items()
        if len(systems) > 1
    ]
    if not shared:
        raise UsageError(
            _nothing_shared(chosen, [note for some in notes.values() for note in some])
        )
    return sorted(shared, key=lambda place: (place.task, place.dataset))


def topic(place: Place, column: Column, group: str | None = None) -> Topic:
    """Choose the record that stands for each system on one metric.

    Of several that have the value, it is one whose definition most systems share, among those one
    that is not stale, among those the newest.

    Args:
        place: where the systems are compared.
        column: the metric.
        group: None: macro, else pooled.
    """
    group = group or _overall_group(place, column)
    having = {
        name: [s for s in records if _valued(s, column, group)] or list(records)
        for name, records in place.systems.items()
    }
    shared = Counter(
        definition
        for records in having.values()
        for definition in {_definition(stored, column, group) for stored in records}
    )

    def order(stored: Stored) -> tuple[bool, int, bool, str, str]:
        definition, record = _definition(stored, column, group), stored.record
        fresh = record.status in _MEASURED
        return bool(definition), shared[definition], fresh, record.created, str(stored.path)

    stored = {name: max(records, key=order) for name, records in having.items()}
    notes = list(place.notes)
    for name, taken in stored.items():
        if len(having[name]) > 1:
            notes.append(
                f"{name} has {len(having[name])} such records: taken is {taken.path.name} of "
                f"{taken.record.created}"
            )
        if (status := _status(taken.record)) != "ok":
            reason = taken.record.status_lifted or taken.record.status_reason
            notes.append(f"{name} is {status}" + (f": {reason}" if reason else ""))
    return Topic(place, column, group, stored, notes)


def _overall_group(place: Place, column: Column) -> str:
    overall = [column.overall(record) for record in place.records]
    return next((m.group for m in overall if m is not None and m.value is not None), POOLED)


def _valued(stored: Stored, column: Column, group: str) -> Metric | None:
    metric = column.of(stored.record, group)
    return None if metric is None or metric.value is None else metric


def _definition(stored: Stored, column: Column, group: str) -> str:
    metric = column.of(stored.record, group)
    return "" if metric is None else metric.definition_hash


def _status(record: Record) -> str:
    lifted = record.status == "suspect" and record.status_lifted is not None
    return "suspect, lifted" if lifted else record.status


def _marks_of(stored: Stored, known: dict[Path, Marks]) -> Marks:
    """The maintainers' marks of the results directory that a record lies in."""
    above = stored.path.resolve().parents
    if len(above) < _DEPTH:
        return Marks()
    results = above[_DEPTH - 1]
    if results not in known:
        known[results] = read_marks(results)
    return known[results]


def _nothing_shared(chosen: Mapping[str, Sequence[Stored]], notes: Sequence[str]) -> str:
    seen = "; ".join(
        f"{name} on {', '.join(sorted({s.record.dataset.id for s in records}))}"
        for name, records in chosen.items()
    )
    return "; ".join([f"no two systems were measured on the same images: {seen}", *notes])
