"""How far a row can be trusted, in words and shape, and which track it runs in.

Marks above `submitted` are given by maintainers in `marks.yaml` of the results directory:

    recon/medsynth/meditok@tiny/f8688621:
      mark: verified
      by: A. Maintainer
      date: "2026-11-21"
      reason: run again from the pinned weights

The key is the record's own path without `.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..harness.documents import load_yaml
from ..harness.errors import UsageError
from ..harness.record import Record
from ..harness.record_files import record_path

Word = Literal["verified", "reproduced", "submitted", "paper", "suspect", "withdrawn"]
WORDS: tuple[Word, ...] = get_args(Word)

Track = Literal["official", "controlled", "own", "paper"]
TRACKS: tuple[Track, ...] = get_args(Track)

TRACK_MEANING: Mapping[str, str] = {
    "official": "the published architecture with the published weights",
    "controlled": "small configurations trained under one common budget on the same data",
    "own": "weights or systems of those who ran them",
    "paper": "values copied from a publication; never ranked",
}

MARKS_FILE = "marks.yaml"

_SHAPES: Mapping[str, str] = {
    "verified": "◆",
    "reproduced": "◈",
    "submitted": "◇",
    "paper": "□",
    "suspect": "△",
    "withdrawn": "✕",
}
_MEANING: Mapping[str, str] = {
    "verified": "run again by the maintainers from pinned weights",
    "reproduced": "run again by others, within the interval",
    "submitted": "the record is valid; nobody has run it again",
    "paper": "copied from a publication, never ranked",
    "suspect": "does not beat trivial reconstructions, not ranked",
    "withdrawn": "kept with its reason, not ranked",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A trust mark: its word, the shape that goes with it, and what it rests on."""

    word: Word
    reason: str = ""
    """Who gave it, when and why; empty where the word says all."""

    @property
    def shape(self) -> str:
        """One character, a different one for each word."""
        return _SHAPES[self.word]

    @property
    def meaning(self) -> str:
        """The word explained."""
        return _MEANING[self.word]

    @property
    def ranked(self) -> bool:
        """Whether a row with this mark may take part in a ranking."""
        return self.word in ("verified", "reproduced", "submitted")

    def __str__(self) -> str:
        return f"{self.shape} {self.word}"


class Given(BaseModel):
    """A mark in `marks.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mark: Literal["verified", "reproduced", "submitted", "withdrawn"]
    by: str = Field(min_length=1, max_length=200)
    date: str = Field(pattern=r"\d{4}-\d{2}-\d{2}")
    reason: str = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a results directory, by the record's path without `.json`."""

    given: Mapping[str, Given] = field(default_factory=dict)


def read_marks(results: Path) -> Marks:
    """The marks that maintainers gave; none where there is no `marks.yaml`.

    Raises:
        UsageError: the file is not of the form that the module describes.
    """
    path = results / MARKS_FILE
    if not path.is_file():
        return Marks()
    try:
        content = load_yaml(path) or {}
        return Marks(TypeAdapter(dict[str, Given]).validate_python(content))
    except (OSError, ValueError) as error:
        message = f"{path}: not a file of marks: {error}"
        raise UsageError(message) from error


def record_key(record: Record) -> str:
    """`task/dataset/tokenizer@variant/key8`: the record's path below a results directory."""
    path = record_path(
        Path(),
        task=record.task,
        dataset_id=record.dataset.id,
        tokenizer=record.full_name,
        key8=record.identity.key8,
    )
    return path.with_suffix("").as_posix()


_NO_MARKS = Marks()


def trust_mark(record: Record, marks: Marks = _NO_MARKS) -> Mark:
    """The mark of a record: what it says of itself, else what maintainers gave, else `submitted`.

    `verified` needs pinned weights: a system with weights but without their hash stays
    `submitted`, and the reason says so.
    """
    if record.status == "withdrawn":
        return Mark("withdrawn", record.status_reason or "")
    given = marks.given.get(record_key(record))
    if given is not None and given.mark == "withdrawn":
        return Mark("withdrawn", _words(given))
    if record.status == "suspect" and record.status_lifted is None:
        return Mark("suspect", record.status_reason or "")
    if given is None or given.mark == "submitted":
        return Mark("submitted")
    learned = record.info.kind in ("discrete", "continuous")
    if given.mark == "verified" and learned and record.info.weights_sha256 is None:
        return Mark("submitted", "not verified: its weights are not pinned by a hash")
    return Mark(given.mark, _words(given))


def _words(given: Given) -> str:
    return f"{given.reason} ({given.by}, {given.date})"


def track_of(record: Record) -> Track:
    """The track that a record runs in; rows of different tracks are never ranked together."""
    if record.variant == "official":
        return "official"
    return "controlled" if record.variant == "tiny" else "own"
