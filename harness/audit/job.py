"""An audit from references to findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .contrast import TILES
from .duplicates import Link, find_duplicates
from .findings import (
    Findings,
    Named,
    Pair,
    Part,
    PatientOverlap,
    Picture,
    patient_overlaps,
    relation,
)
from .scan import Scan, Scanned, scan
from .signature import Signature
from .sources import Entry, Place, Source, check_apart, open_source


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be audited.

    Attributes:
        references: folders of images or dataset references.
        against: private collections (folders, `folder:` or `manifest:`), compared with only.
        limit: at most so many images per group and source.
        show_private: whether findings name private files.
        data_root: where data sets lie.
    """

    references: tuple[str, ...]
    against: tuple[str, ...] = ()
    limit: int | None = None
    show_private: bool = False
    data_root: Path | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Findings, and the images behind each pair for whoever wants to look at them."""

    findings: Findings
    shown: tuple[tuple[Entry, Entry], ...]
    """The entries of `findings.pairs`, in order."""


def run_audit(request: Request) -> Audit:
    """Read all sources once, then find equal pixels, near-duplicates and shared patients.

    Raises:
        MedbenchError: a source that is not there, is empty, or is named twice.
    """
    sources = [
        open_source(reference, private=private, limit=request.limit, data_root=request.data_root)
        for private, references in ((False, request.references), (True, request.against))
        for reference in references
    ]
    check_apart(sources)
    entries = [entry for source in sources for entry in source.entries]
    scanned = scan(entries)
    search = find_duplicates(scanned.images)
    names = _Names(entries, show_private=request.show_private)
    pairs = tuple(_pair(scanned.images, link, names) for link in search.links)
    images = scanned.images
    findings = Findings(
        parts=_parts(sources, scanned),
        pairs=pairs,
        patients=_patients(entries),
        unreadable=tuple(names.refused(each.entry, each.reason) for each in scanned.unreadable),
        flat=tuple(
            names.refused(each.entry, _why_flat(each.signature))
            for each in images
            if each.signature.flat
        ),
        contents=search.contents,
        candidates=search.candidates,
        verified=search.verified,
    )
    shown = tuple((images[link.first].entry, images[link.second].entry) for link in search.links)
    return Audit(findings, shown)


class _Names:
    """How entries are called: private ones by their position, unless names are asked for."""

    def __init__(self, entries: Sequence[Entry], *, show_private: bool) -> None:
        private = [entry for entry in entries if entry.place.private]
        self._numbers = {id(entry): number for number, entry in enumerate(private, start=1)}
        self._show_private = show_private

    def name(self, entry: Entry) -> str:
        if entry.place.private and not self._show_private:
            return f"#{self._numbers[id(entry)]}"
        return entry.item.id

    def refused(self, entry: Entry, reason: str) -> Named:
        hidden = entry.place.private and not self._show_private
        return Named(
            entry.place.dataset,
            entry.place.split,
            self.name(entry),
            "not shown (--show-private)" if hidden else reason,
        )

    def picture(self, image: Scanned) -> Picture:
        place = image.entry.place
        signature = image.signature
        return Picture(
            dataset=place.dataset,
            split=place.split,
            id=self.name(image.entry),
            width=signature.width,
            height=signature.height,
            sha256=None if place.private else signature.sha256,
        )


def _why_flat(signature: Signature) -> str:
    return (
        f"fine detail of {signature.detail:.1f} grey levels, "
        f"contrast in {signature.textured} of {TILES**2} tiles"
    )


def _pair(images: Sequence[Scanned], link: Link, names: _Names) -> Pair:
    both = images[link.first], images[link.second]
    first, second = (names.picture(image) for image in both)
    return Pair(
        first=first,
        second=second,
        kind="exact" if link.correlation is None else "near",
        relation=relation(first, second, private=any(i.entry.place.private for i in both)),
        correlation=None if link.correlation is None else round(link.correlation, 4),
    )


def _parts(sources: Sequence[Source], scanned: Scan) -> tuple[Part, ...]:
    total: Counter[Place] = Counter(e.place for source in sources for e in source.entries)
    patients = {e.place for s in sources for e in s.entries if e.item.patient is not None}
    damaged = Counter(each.entry.place for each in scanned.unreadable)
    flat = Counter(each.entry.place for each in scanned.images if each.signature.flat)
    return tuple(
        Part(
            dataset=place.dataset,
            split=place.split,
            images=count,
            unreadable=damaged[place],
            flat=flat[place],
            patients_known=place in patients,
        )
        for place, count in total.items()
    )


def _patients(entries: Sequence[Entry]) -> tuple[PatientOverlap, ...]:
    return patient_overlaps(
        [
            (entry.place.dataset, entry.item.patient, entry.place.split)
            for entry in entries
            if entry.item.patient is not None and not entry.place.private
        ]
    )
