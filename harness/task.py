"""What the harness asks of a task, and what it hands to it: one cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from .datasets.card import Card
    from .datasets.dataset import Dataset
    from .datasets.store import ImageStore
    from .protocol import Tokenizer
    from .record import Definition, GalleryImage, Identity, Metric
    from .shards import BatchSize
    from .vocabulary import Status


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a cell before anything is built: enough to name its record."""

    dataset_id: str
    split: str
    ingest_rule: str
    resolution: int
    limit: int | None
    groups: Mapping[str, int]
    """Images per group."""
    macro: bool
    """Whether the card allows a macro average."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the user chose of the task's own `options`."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Ids of the other parts of the dataset that the task reads, by their name (`train`)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a dataset, as a source of images, captions and questions, and as ingested."""

    dataset: Dataset
    store: ImageStore


@dataclass(frozen=True, slots=True)
class Cell:
    """One tokenizer on one dataset, ready to be measured."""

    plan: Plan
    tokenizer: Tokenizer
    store: ImageStore
    card: Card
    definitions: Mapping[str, Definition]
    """By metric name."""
    seed: int
    device: str
    batch: BatchSize
    work: Path
    """Folder for shards; kept until the record is written, so that a killed cell resumes."""
    gallery: Path
    """Folder for pictures, beside the record."""
    dataset: Dataset | None = None
    """What `store` was ingested from."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """The other parts of the dataset, by their name."""
    identity: Identity | None = None
    """What the record is named after; caches of a tokenizer's output take weights and config."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task found."""

    metrics: list[Metric]
    per_image: pd.DataFrame
    """One row per image: `id`, `group`, `sha256` and the per-image scores."""
    status: Status = "ok"
    status_reason: str | None = None
    warnings: list[str] = field(default_factory=list)
    clamped_fraction: float | None = None
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    metric_seconds: float = 0.0
    images_per_second: float | None = None
    """Of what the task makes, where that is not the scored images encoded and decoded."""
    gallery: list[GalleryImage] = field(default_factory=list)

    def rate(self, images: int) -> float | None:
        """Images a second: the task's own, or so many scored ones encoded and decoded."""
        seconds = self.encode_seconds + self.decode_seconds
        return self.images_per_second or (images / seconds if seconds > 0 else None)


def not_applicable(reason: str) -> Outcome:
    """What a system leaves that cannot take part in a cell by its nature."""
    import pandas as pd

    return Outcome(
        metrics=[], per_image=pd.DataFrame(), status="not-applicable", status_reason=reason
    )


class Task(Protocol):
    """A protocol that turns (tokenizer, dataset) into scores."""

    name: str
    default_dataset: str
    stage_version: int
    """Bumped by hand when the code of a stage changes its numbers."""
    seeded: bool
    """Whether the result depends on the run's seed."""

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric name; must not import torch."""
        ...

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell; resumes from the shards that are already in `cell.work`."""
        ...


class TaskWithOptions(Task, Protocol):
    """A task that also takes options of its own, or learns on other parts of the dataset."""

    options: tuple[str, ...]
    """Names of the command line's task options that it takes: `preset`, `extractor` ..."""

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The options as the record's identity names them: defaults filled in, files by hash.

        Raises:
            UsageError: a value that the task does not know, or a file that is not there.
        """
        ...

    def scored_limit(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> int | None:
        """How many images per group of the scored dataset it reads; None: all.

        Args:
            dataset: the one that is scored.
            options: the user's, as given.
            limit: the user's; None where none was given.
        """
        ...

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """Names of the parts that it learns on, and how many images per group of each it reads.

        Args:
            dataset: the one that is scored.
            options: the user's, as given.
            limit: the user's, of images per group; None where none was given.
        """
        ...
