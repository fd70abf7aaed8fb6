"""The result record: what one cell found, and all that is needed to doubt it."""

from __future__ import annotations

from array import array
from dataclasses import field
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic.dataclasses import dataclass

from .files import hash_value
from .protocol import Colour, Kind, Layout
from .vocabulary import FACET, MACRO, METRICS, MODALITIES, POOLED, SETTING, Direction, Status

SCHEMA_VERSION = 1


_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

_PLAUSIBLE = 1e12
"""No metric is larger: what is, comes of a broken or a hostile record, and overflows in means."""


class _Model(BaseModel):
    model_config = _CONFIG | ConfigDict(frozen=True)


def _packed(values: list[float]) -> array[float]:
    """Eight bytes a number instead of 32: boards hold thousands of records."""
    return array("d", values)


Replicates = Annotated[list[float], AfterValidator(_packed), PlainSerializer(list)]
"""Read and written as a list of numbers, held as an array of them."""


class Definition(_Model):
    """Everything that changes a metric's number, by name."""

    id: str
    """Short and readable: `psnr-rgb-u8-1`."""
    facts: dict[str, Any]
    """Resize, rounding, formula, extractor and its weights, split, limit, seed rule …"""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over id and facts."""
        return hash_value([self.id, self.facts])[:16]


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Metric:
    """One value of one group, or its absence with the reason.

    A dataclass with slots, since a large board holds a million of them.
    """

    name: str
    group: str
    value: float | None
    n: int
    """Images (or positions, questions …) that the value rests on."""
    direction: Direction
    definition: str
    """Definition id; the facts are in the record's `definitions`."""
    definition_hash: str
    setting: str = ""
    """Which of several ways to measure it, where a task has more than one; empty: the main one."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    unit: str = ""
    replicates: Replicates | None = None
    """Values of the common resamples, for rank ranges; only for ranked macro metrics."""
    flags: list[str] = field(default_factory=list)
    """`rank-deficient`, `contains training images` …"""
    reason: str | None = None
    """Why the value is absent."""

    @model_validator(mode="after")
    def _legal(self) -> Metric:
        if self.name not in METRICS:
            message = f"unknown metric {self.name!r}"
            raise ValueError(message)
        if not SETTING.fullmatch(self.setting):
            message = f"setting {self.setting!r} is not of the form {SETTING.pattern}"
            raise ValueError(message)
        if self.n < 0:
            message = f"{self.name}/{self.group}: n is {self.n}"
            raise ValueError(message)
        if self.value is None:
            if not self.reason:
                message = f"{self.name}/{self.group}: absent without a reason"
                raise ValueError(message)
            return self
        self._check_numbers(self.value)
        return self

    def _check_numbers(self, value: float) -> None:
        facts = METRICS[self.name]
        if not facts.low <= value <= facts.high:
            message = f"{self.name}/{self.group}: {value} outside {facts.low}..{facts.high}"
            raise ValueError(message)
        ends = [end for end in (self.low, self.high) if end is not None]
        reach = (min(self.replicates), max(self.replicates)) if self.replicates else ()
        if not all(-_PLAUSIBLE <= number <= _PLAUSIBLE for number in (value, *ends, *reach)):
            message = f"{self.name}/{self.group}: a value is not finite, or implausibly large"
            raise ValueError(message)
        if sorted(ends) != ends:
            message = f"{self.name}/{self.group}: interval from {self.low} up to {self.high}"
            raise ValueError(message)


@lru_cache(maxsize=4096)
def _known_hash(definition: str) -> str:
    """Hash of a definition's JSON text: thousands of records share a few definitions."""
    return Definition.model_validate_json(definition).hash


class InfoFacts(_Model):
    """`TokenizerInfo` as stored."""

    name: str
    variant: str
    kind: Kind
    resolution: int
    size_multiple: int
    downsample: int
    layout: Layout
    codebooks: int
    codebook_size: int
    positions: int
    latent_dims: int
    feature_dims: int
    parameters: int
    weights_sha256: str | None
    colour: Colour
    modalities: list[str]
    training_data: str
    code_licence: str
    weights_licence: str
    source: str
    bits_per_image: float | None
    cannot: dict[str, str]


class FailedImage(_Model):
    """An image that could not be read."""

    id: str
    reason: str


class DatasetFacts(_Model):
    """Which images were used."""

    id: str
    split: str
    fingerprint: str
    """SHA-256 over ids, groups, patients and pixels."""
    n: int
    groups: dict[str, int]
    patients: int | None = None
    """Distinct patients, where known."""
    limit: int | None = None
    """Per group."""
    resolution: int
    ingest_rule: str
    licence: str
    macro: bool
    pixels: Literal["publish", "local"]
    failed: list[FailedImage] = Field(default_factory=list)
    notes: dict[str, int] = Field(default_factory=dict)
    """What was done while decoding, with counts: {"opaque alpha dropped": 3}."""
    disclosure: str | None = None
    """Whether the tokenizer's authors declare this very set among its training data, in the words
    of `training_data`; None in records of before it was asked."""


_MAY_BE_EMPTY = ("options", "parts")


class Identity(_Model):
    """What makes this cell a different one; `key8` names the file."""

    weights_sha256: str | None
    config_sha256: str | None
    data_fingerprint: str
    definitions_sha256: str
    limit: int | None
    precision: str
    seed: int | None
    """None where the task draws nothing that depends on it."""
    options: dict[str, str] = Field(default_factory=dict)
    """Of the task, files by their hash."""
    parts: dict[str, str] = Field(default_factory=dict)
    """Fingerprints of the other parts of the dataset that the task learnt on."""

    @property
    def key8(self) -> str:
        """First eight hex digits of the hash of all fields, of those that may be empty if not."""
        fields = self.model_dump()
        return hash_value({k: v for k, v in fields.items() if v or k not in _MAY_BE_EMPTY})[:8]


class Timing(_Model):
    """Seconds, summed over the shards of all (resumed) processes."""

    encode_seconds: float
    decode_seconds: float
    metric_seconds: float
    images_per_second: float | None
    """Encode and decode together."""
    batch_size: int | None


class Environment(_Model):
    """Provenance; never part of a definition, and unknown values are None."""

    medbench: str
    code_version: str
    """medbench's version and the stage versions; another one makes the record stale."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str
    torch: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    device: str
    device_name: str | None = None
    precision: str
    threads: int | None = None
    platform: str
    notes: list[str] = Field(default_factory=list)
    """Why something above is unknown."""


class GalleryImage(_Model):
    """A saved picture of an original and its reconstruction."""

    id: str
    group: str
    file: str
    """Relative to the record."""
    why: str
    """`pick` (seeded, before results) or `worst <metric>`."""
    also: list[str] = Field(default_factory=list)
    """Further reasons."""
    error: str | None = None
    """The map of its error, relative to the record."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Of this image, by metric."""


class Record(_Model):
    """One cell: a tokenizer on a task and a dataset."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tokenizer: str
    variant: str
    task: str
    dataset: DatasetFacts
    info: InfoFacts
    identity: Identity
    definitions: dict[str, Definition]
    metrics: list[Metric]
    status: Status
    status_reason: str | None = None
    status_lifted: str | None = None
    """A maintainer's visible note that lifts `suspect`."""
    warnings: list[str] = Field(default_factory=list)
    clamped_fraction: float | None = None
    """Share of reconstructed values outside [0, 1] before the one clamp."""
    timing: Timing | None = None
    environment: Environment
    command: str
    created: str
    """UTC, ISO 8601."""
    per_image: str | None = None
    """File name of the Parquet beside the record."""
    per_image_sha256: str | None = None
    gallery: list[GalleryImage] = Field(default_factory=list)

    @property
    def full_name(self) -> str:
        """`tokenizer@variant`."""
        return f"{self.tokenizer}@{self.variant}"

    def metric(self, name: str, group: str, setting: str = "") -> Metric | None:
        """The metric of that name, group and setting, if the record holds one."""
        wanted = (name, group, setting)
        return next((m for m in self.metrics if (m.name, m.group, m.setting) == wanted), None)

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        seen: set[tuple[str, str, str]] = set()
        known = {POOLED, MACRO, *MODALITIES, self.dataset.id, *self.dataset.groups}
        hashes = {name: _known_hash(d.model_dump_json()) for name, d in self.definitions.items()}
        for metric in self.metrics:
            key = (metric.name, metric.group, metric.setting)
            if key in seen:
                message = f"{'/'.join(filter(None, key))} occurs twice"
                raise ValueError(message)
            seen.add(key)
            if metric.group not in known and not FACET.fullmatch(metric.group):
                message = f"unknown group {metric.group!r}"
                raise ValueError(message)
            if hashes.get(metric.definition) != metric.definition_hash:
                message = f"{metric.name}/{metric.group}: definition hash does not fit its facts"
                raise ValueError(message)
        return self
