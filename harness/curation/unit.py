"""What one piece of work takes in and gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..datasets.images import Window
from .thresholds import Thresholds

Kind = Literal["image", "dicom", "nifti"]
Rules = Literal["meditok", "sa-med2d"]
Format = Literal["folder", "wds"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One image, one DICOM file or series, or one NIfTI volume, not yet read."""

    source: str
    """Short name of the SOURCE it comes from; no machine path."""
    name: str
    """Unique in the source: usually the path below it."""
    kind: Kind
    files: tuple[str, ...]
    """Absolute paths; several for a DICOM series, in the order of their positions."""
    modality: str
    """Empty where a file with a `problem` does not say it."""
    caption: str | None = None
    label: str | None = None
    patient: str | None = None
    tags: tuple[str, ...] = ()
    primary_labels: tuple[str, ...] = ()
    secondary_labels: tuple[str, ...] = ()
    window: Window | None = None
    """How a deep image is shown; for CT its bias gives Hounsfield units."""
    masks: tuple[str, ...] = ()
    """Mask files; several are several annotations of the same image."""
    problem: str | None = None
    """Why it cannot be read, where that is known before reading."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the outcome of a run, besides its sources."""

    rules: Rules
    format: Format
    thresholds: Thresholds
    preset: str | None = None
    tags: tuple[str, ...] = ()
    captions: bool = False
    """Whether the caption filter applies (and a missing caption rejects)."""
    masked: bool = False
    """Whether an image without a mask is rejected (`sa-med2d`)."""
    seed: int = 0
    """Of the pick of images on the sheets."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the index: an image that was looked at."""

    id: str
    source: str
    source_file: str
    volume: str | None
    plane: str | None
    slice: int | None
    patient: str | None
    modality: str | None
    label: str | None
    caption: str | None
    kept: bool
    reason: str | None
    detail: str | None
    width: int | None = None
    height: int | None = None
    path: str | None = None
    member: str | None = None
    """File inside a shard."""
    sha256: str | None = None
    """Of the image file."""
    window_low: float | None = None
    window_high: float | None = None
    bias: float | None = None
    masks: tuple[str, ...] = ()
    masks_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row with the files that belong to it (none where it is rejected) and a thumbnail."""

    row: Row
    files: dict[str, bytes] = field(default_factory=dict)
    """Path below the output folder -> content."""
    thumbnail: bytes | None = None
    """PNG; None where nothing could be read."""
