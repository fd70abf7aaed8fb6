"""The result record: what one cell found, and all that is needed to doubt it."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .files import hash_value
from .protocol import Colour, Kind, Layout
from .record_metric import CLOSED, Count, Definition, Metric, Plausible, known_hash
from .vocabulary import FACET, MACRO, MODALITIES, POOLED, Status

SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = CLOSED | ConfigDict(frozen=True)


Side = Annotated[Count, Field(ge=1)]
"""Of an image, pixels; what is said per pixel divides by it."""


class InfoFacts(_Model):
    """`TokenizerInfo` as stored."""

    name: str
    variant: str
    kind: Kind
    resolution: Side
    size_multiple: Count
    downsample: Count
    layout: Layout
    codebooks: Count
    codebook_size: Count
    positions: Count
    latent_dims: Count
    feature_dims: Count
    parameters: Count
    weights_sha256: str | None
    colour: Colour
    modalities: list[str]
    training_data: str
    code_licence: str
    weights_licence: str
    source: str
    bits_per_image: Plausible | None
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
    n: Count
    groups: dict[str, Count]
    patients: Count | None = None
    """Distinct patients, where known."""
    limit: Count | None = None
    """Per group."""
    resolution: Side
    ingest_rule: str
    licence: str
    macro: bool
    pixels: Literal["publish", "local"]
    failed: list[FailedImage] = Field(default_factory=list)
    notes: dict[str, Count] = Field(default_factory=dict)
    """What was done while decoding, with counts: {"opaque alpha dropped": 3}."""
    disclosure: str | None = None
    """Whether the tokenizer's authors declare this very set among its training data, in the words
    of `training_data`; None in records of before it was asked."""


_MAY_BE_EMPTY = ("options", "parts")


@lru_cache(maxsize=4096)
def _key8(identity: str) -> str:
    """Of an identity's JSON text: a site asks for the same ones again and again."""
    fields = json.loads(identity)
    return hash_value({k: v for k, v in fields.items() if v or k not in _MAY_BE_EMPTY})[:8]


class Identity(_Model):
    """What makes this cell a different one; `key8` names the file."""

    weights_sha256: str | None
    config_sha256: str | None
    data_fingerprint: str
    definitions_sha256: str
    limit: Count | None
    precision: str
    seed: Count | None
    """None where the task draws nothing that depends on it."""
    options: dict[str, str] = Field(default_factory=dict)
    """Of the task, files by their hash."""
    parts: dict[str, str] = Field(default_factory=dict)
    """Fingerprints of the other parts of the dataset that the task learnt on."""

    @property
    def key8(self) -> str:
        """First eight hex digits of the hash of all fields, of those that may be empty if not."""
        return _key8(self.model_dump_json())


class Timing(_Model):
    """Seconds, summed over the shards of all (resumed) processes."""

    encode_seconds: Plausible
    decode_seconds: Plausible
    metric_seconds: Plausible
    images_per_second: Plausible | None
    """Encode and decode together."""
    batch_size: Count | None


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
    threads: Count | None = None
    platform: str
    notes: list[str] = Field(default_factory=list)
    """Why something above is unknown."""


SHEET_OF_SAMPLES = "samples; the first row is real"
"""`GalleryImage.why` of a sheet of one class's generated images."""


class GalleryImage(_Model):
    """A saved picture: an original beside its reconstruction, or a sheet of generated images."""

    id: str
    group: str
    file: str
    """Relative to the record."""
    why: str
    """Of a pair `pick` (seeded, before results) or `worst <metric>`; else what is to be seen."""
    also: list[str] = Field(default_factory=list)
    """Further reasons."""
    error: str | None = None
    """The map of its error, relative to the record."""
    scores: dict[str, Plausible] = Field(default_factory=dict)
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
    clamped_fraction: Plausible | None = None
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
        for metric in self.metrics:
            if metric.group == group and metric.name == name and metric.setting == setting:
                return metric
        return None

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        hashes = {name: known_hash(d.model_dump_json()) for name, d in self.definitions.items()}
        for metric in self.metrics:
            if hashes.get(metric.definition) != metric.definition_hash:
                message = f"{metric.name}/{metric.group}: definition hash does not fit its facts"
                raise ValueError(message)
        known = {POOLED, MACRO, *MODALITIES, self.dataset.id, *self.dataset.groups}
        for group in {metric.group for metric in self.metrics} - known:
            if not FACET.fullmatch(group):
                message = f"unknown group {group!r}"
                raise ValueError(message)
        if len({(m.name, m.group, m.setting) for m in self.metrics}) < len(self.metrics):
            message = f"{self._repeated()} occurs twice"
            raise ValueError(message)
        return self

    def _repeated(self) -> str:
        counts = Counter((m.name, m.group, m.setting) for m in self.metrics)
        return "/".join(filter(None, counts.most_common(1)[0][0]))
