"""What an audit says: pairs, patients in two splits, and what could not be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .correlation import SCREEN, THRESHOLD
from .duplicates import RADIUS
from .signature import RULE

Relation = Literal[
    "within a split", "across splits", "across data sets", "with the private collection"
]

CONTAMINATING: tuple[Relation, ...] = (
    "across splits",
    "across data sets",
    "with the private collection",
)
"""Relations that make an evaluation doubtful, and the exit code 1."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a pair. A private one has a number instead of its name, unless asked for."""

    dataset: str
    split: str
    id: str
    width: int
    height: int
    sha256: str | None
    """Of the decoded pixels; None of a private image."""

    def __str__(self) -> str:
        split = "" if self.split == "all" else f" [{self.split}]"
        return f"{self.dataset}{split} {self.id}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same picture."""

    first: Picture
    second: Picture
    kind: Literal["exact", "near"]
    relation: Relation
    correlation: float | None
    """Of local contrast, lower quartile of 64 tiles; None: the decoded pixels are equal."""


@dataclass(frozen=True, slots=True)
class PatientOverlap:
    """One patient with images in several splits of a data set."""

    dataset: str
    patient: str
    images: dict[str, int]
    """Number of images by split."""


@dataclass(frozen=True, slots=True)
class Part:
    """One source, or one split of it, as audited."""

    dataset: str
    split: str
    images: int
    unreadable: int
    flat: int
    patients_known: bool


@dataclass(frozen=True, slots=True)
class Named:
    """An image that was not compared, and why."""

    dataset: str
    split: str
    id: str
    reason: str


def audit_rule() -> dict[str, Any]:
    """What decides the result: the versions and thresholds in force."""
    return {
        "signature": RULE,
        "hash_radius": RADIUS,
        "screen": SCREEN,
        "correlation_threshold": THRESHOLD,
    }


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of one audit; `as_json` is its file form.

    Attributes:
        parts: what was audited.
        pairs: same pictures, in the order of the sources.
        patients: patients in two splits.
        unreadable: images that could not be decoded.
        flat: images with too little detail for anything but equality.
        contents: images with different pixels.
        candidates: pairs whose hashes were alike.
        verified: pairs that were decoded again and correlated.
    """

    parts: tuple[Part, ...]
    pairs: tuple[Pair, ...]
    patients: tuple[PatientOverlap, ...]
    unreadable: tuple[Named, ...]
    flat: tuple[Named, ...]
    contents: int
    candidates: int
    verified: int
    rule: dict[str, Any] = field(default_factory=audit_rule)

    @property
    def contaminated(self) -> bool:
        """Whether a picture or a patient lies in two splits, data sets or a private collection."""
        return bool(self.patients) or any(pair.relation in CONTAMINATING for pair in self.pairs)

    def counts(self) -> dict[tuple[str, str], int]:
        """Pairs by (relation, kind)."""
        return dict(Counter((pair.relation, pair.kind) for pair in self.pairs))

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the version of the schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "contaminated": self.contaminated,
        }


def relation(first: Picture, second: Picture, *, private: bool) -> Relation:
    """How the places of two images relate."""
    if private:
        return "with the private collection"
    if first.dataset != second.dataset:
        return "across data sets"
    return "within a split" if first.split == second.split else "across splits"


def patient_overlaps(seen: Sequence[tuple[str, str, str]]) -> tuple[PatientOverlap, ...]:
    """Patients in several splits, from (data set, patient, split) of each image.

    Patient names mean something within one data set only.
    """
    table: dict[tuple[str, str], Counter[str]] = {}
    for dataset, patient, split in seen:
        table.setdefault((dataset, patient), Counter())[split] += 1
    return tuple(
        PatientOverlap(dataset, patient, dict(sorted(splits.items())))
        for (dataset, patient), splits in sorted(table.items())
        if len(splits) > 1
    )
