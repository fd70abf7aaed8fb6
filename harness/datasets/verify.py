"""What of a data set is on this machine, what is missing, and what is wrong.

Files that the owners distribute are held against their checksums, images against the owners'
counts, and each set is opened by the very loader that a run would use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import MedbenchError, MissingPrerequisite
from ..progress import track
from ..registry import dataset_entries, load_dataset
from . import placed
from .available import Chosen, folder_name, is_medmnist, presence, sized_download
from .card import Card
from .dataset import Item
from .download import content_problem, place_of
from .medmnist_sets import SIZES

Level = Literal["found", "note", "missing", "wrong"]
"""`note`: worth knowing, nothing to mend."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a set."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that was seen of one set."""

    id: str
    place: str | None
    findings: tuple[Finding, ...]
    images: int | None = None
    """That its loader offers, over all parts that were opened; None where it has no loader."""
    unreadable: tuple[str, ...] = ()
    """One reason per image that cannot be decoded; only after a deep look."""

    @property
    def state(self) -> str:
        """`ok`, `missing` (nothing of it is here), `partly` or `wrong`."""
        levels = {finding.level for finding in self.findings}
        if "wrong" in levels or self.unreadable:
            return "wrong"
        if "missing" in levels:
            return "partly" if "found" in levels else "missing"
        return "ok"


@dataclass(frozen=True, slots=True)
class _Opened:
    """What one loader gave."""

    findings: tuple[Finding, ...]
    images: int | None = None
    unreadable: tuple[str, ...] = ()


def verify(chosen: Chosen, data_root: Path | None, *, deep: bool = False) -> Verdict:
    """Look at one set closely.

    Args:
        chosen: the card, and a variant where only one part is meant.
        data_root: where sets lie.
        deep: decode every image through the set's reader.
    """
    card = chosen.card
    seen = presence(card, data_root)
    name = f"{card.id}@{chosen.variant}" if chosen.variant else card.id
    if seen.state == "not here":
        where = seen.detail or f"nothing in the folder {folder_name(card)} of the data root"
        return Verdict(name, None, (Finding("missing", where),))
    opened = _open(chosen, data_root, seen.place, deep=deep)
    findings = (*_checksums(chosen, seen.place), *opened.findings)
    place = str(seen.place) if seen.place else None
    return Verdict(name, place, findings, opened.images, opened.unreadable)


def _checksums(chosen: Chosen, place: Path | None) -> list[Finding]:
    """Findings on the owners' own files, where they lie beside what was unpacked."""
    # A MedMNIST file is checked by its loader, which also knows where modified ones are allowed.
    if place is None or is_medmnist(chosen.card):
        return []
    findings = []
    for source in chosen.card.downloads:
        path = place_of(source, place)
        if not path.is_file():
            continue
        problem = content_problem(source, path)
        if problem:
            findings.append(Finding("wrong", f"{path}: {problem}. Move it away, fetch it again."))
        else:
            checked = "checksum right" if source.md5 or source.sha256 else "no checksum known"
            findings.append(Finding("found", f"{source.filename}: {checked}"))
    return findings


def _open(chosen: Chosen, data_root: Path | None, place: Path | None, *, deep: bool) -> _Opened:
    card = chosen.card
    if card.reading is not None and not chosen.variant:
        return _survey(card, data_root, deep=deep)
    if card.id not in dataset_entries() and card.reading is None:
        text = f"no reader: the card states facts only. {_first_line(card.how_to_get)}"
        return _Opened((Finding("note", text),))
    parts = [
        _load(card, reference, data_root, deep=deep) for reference in _references(chosen, place)
    ]
    return _Opened(
        tuple(dict.fromkeys(finding for part in parts for finding in part.findings)),
        sum(part.images or 0 for part in parts),
        tuple(reason for part in parts for reason in part.unreadable),
    )


def _survey(card: Card, data_root: Path | None, *, deep: bool) -> _Opened:
    found = placed.survey(card, data_root, decode=deep)
    if found.problem is not None:
        return _Opened((Finding("wrong", _without_steps(found.problem)),), 0)
    findings = [Finding("found", f"{found.images:,} images in {found.files:,} files")]
    counts = list(card.splits.values())
    owners = sum(c for c in counts if c is not None) if counts and None not in counts else None
    complete = owners is None or found.images == owners
    # A published table may count a selection; only the owners' own number says what is missing.
    level: Level = "note" if complete else "wrong"
    findings += [Finding(level, text) for text in found.differences]
    reasons = tuple(failure.reason for failure in found.unreadable)
    return _Opened(tuple(findings), found.images, reasons)


def _references(chosen: Chosen, place: Path | None) -> list[str]:
    """What to load: every part of the set that is here, or the one that was asked for."""
    card, variant = chosen.card, chosen.variant
    if not is_medmnist(card):
        parts = [variant] if variant else list(card.splits) if card.access != "embedded" else []
        return [f"{card.id}@{part}" for part in parts] or [card.id]
    if "-" in variant:
        return [f"{card.id}@{variant}"]
    sizes = [
        s
        for s in SIZES
        if place is not None and (place / sized_download(card, s).filename).is_file()
    ]
    wanted = [int(variant)] if variant else sizes
    return [f"{card.id}@{size}{part}" for size in wanted for part in ("", "-train", "-val")]


def _load(card: Card, reference: str, data_root: Path | None, *, deep: bool) -> _Opened:
    try:
        dataset = load_dataset(reference, data_root=data_root)
        items = dataset.items()
        ask = getattr(dataset, "questions", None)
        asked = ask() if ask is not None else None
    except MissingPrerequisite as error:
        return _Opened((Finding("missing", f"{reference}: {_without_steps(str(error))}"),))
    except MedbenchError as error:
        return _Opened((Finding("wrong", str(error)),))
    what = f"{len(items):,} images" + (f", {len(asked):,} questions" if asked is not None else "")
    findings = [Finding("found", f"{reference}: {what}")]
    # Readers add to their card what they noticed on this machine.
    noticed = [text for text in dataset.card.known_problems if text not in card.known_problems]
    findings += [Finding(_level(text), f"{reference}: {text}") for text in noticed]
    return _Opened(tuple(findings), len(items), _undecodable(items, reference) if deep else ())


def _level(noticed: str) -> Level:
    return "missing" if re.match(r"found [\d,]+ of [\d,]+ ", noticed) else "note"


def _undecodable(items: Sequence[Item], reference: str) -> tuple[str, ...]:
    reasons = []
    for item in track(items, total=len(items), label=f"decoding {reference}"):
        try:
            item.load()
            if item.load_mask is not None:
                item.load_mask()
        except MedbenchError as error:
            reasons.append(str(error))
    return tuple(reasons)


def _without_steps(message: str) -> str:
    """A reader's message without the card's steps, which are told once, at the end."""
    return message.partition(" How to get it:")[0]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
