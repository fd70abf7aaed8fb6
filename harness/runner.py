"""The runner: from a request to records, one cell after the other.

A cell whose record exists is answered from it, without torch. Otherwise the cell is measured
in resumable shards, and its record is written last and atomically.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets.store import INGEST_RULE, ImageStore, ingest
from .errors import CellFailed, ExitCode, MedbenchError, NotApplicable, UsageError
from .file_hashes import file_sha256
from .files import hash_value, write_json
from .record import (
    DatasetFacts,
    Definition,
    Environment,
    FailedImage,
    Identity,
    InfoFacts,
    Record,
    Timing,
    load_record,
    record_path,
    write_record,
)
from .registry import (
    TokenizerChoice,
    build_tokenizer,
    choose_tokenizer,
    load_dataset,
    load_task,
    weights_path,
)
from .shards import BatchSize, check_count
from .task import Cell, Outcome, Plan, Task

if TYPE_CHECKING:
    from .datasets.dataset import Dataset

logger = logging.getLogger(__name__)

RESOLUTION = 256
PRECISION = "float32"


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked to run: the grid of tokenizers and tasks on one dataset."""

    tokenizers: Sequence[str]
    tasks: Sequence[str] = ("recon",)
    dataset: str | None = None
    """None: the task's default."""
    limit: int | None = None
    """Images per group."""
    output: Path = Path("results")
    seed: int = 0
    device: str | None = None
    """None: the best one here."""
    batch_size: int | None = None
    """None: found automatically."""
    weights: Path | None = None
    config: Mapping[str, Any] | None = None
    label: str | None = None
    data_root: Path | None = None
    force: bool = False
    command: str = "medbench (Python API)"


@dataclass(frozen=True, slots=True)
class CellResult:
    """The record of one cell, or why there is none."""

    tokenizer: str
    task: str
    record: Record | None = None
    path: Path | None = None
    cached: bool = False
    error: MedbenchError | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """All cells of one request."""

    cells: list[CellResult] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """The records, in the order of the request."""
        return [cell.record for cell in self.cells if cell.record is not None]

    @property
    def exit_code(self) -> ExitCode:
        """OK, or CELLS_FAILED where a cell or an image failed; a lone cell keeps its own code."""
        errors = [cell.error for cell in self.cells if cell.error is not None]
        if errors and len(self.cells) == 1:
            return errors[0].exit_code
        if errors or any(record.dataset.failed for record in self.records):
            return ExitCode.CELLS_FAILED
        return ExitCode.OK


def run(
    tokenizers: str | Sequence[str], tasks: str | Sequence[str] = "recon", **options: Any
) -> list[Record]:
    """Run tokenizers on tasks and return the records (see `Request` for the options).

    Raises:
        MedbenchError: the first error of any cell.
    """
    names = [tokenizers] if isinstance(tokenizers, str) else list(tokenizers)
    task_names = [tasks] if isinstance(tasks, str) else list(tasks)
    result = execute(Request(tokenizers=names, tasks=task_names, **options))
    for cell in result.cells:
        if cell.error is not None:
            raise cell.error
    return result.records


def execute(request: Request) -> RunResult:
    """Carry out a request; a failing cell does not stop the others.

    Raises:
        UsageError: the request itself is wrong (unknown names, counts below one).
    """
    check_count("--limit", request.limit)
    check_count("--batch-size", request.batch_size)
    own = request.weights is not None or request.config is not None
    if (own or request.label) and len(request.tokenizers) != 1:
        message = "--weights, --config and --label go with exactly one --tokenizer"
        raise UsageError(message)
    tasks = [load_task(name) for name in _distinct(request.tasks)]
    choices = [
        choose_tokenizer(name, config=request.config, weights=request.weights, label=request.label)
        for name in _distinct(request.tokenizers)
    ]
    cells: list[CellResult] = []
    for task in tasks:
        dataset = load_dataset(request.dataset or task.default_dataset, data_root=request.data_root)
        store = ingest(dataset, limit=request.limit, side=RESOLUTION)
        cells += [_attempt(request, task, dataset, store, choice) for choice in choices]
    return RunResult(cells)


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _attempt(
    request: Request, task: Task, dataset: Dataset, store: ImageStore, choice: TokenizerChoice
) -> CellResult:
    try:
        return _Job(request, task, dataset, store, choice).result()
    except MedbenchError as error:
        logger.debug("cell failed", exc_info=True)
        return CellResult(choice.full_name, task.name, error=error)


class _Job:
    """One cell on its way to a record."""

    def __init__(
        self,
        request: Request,
        task: Task,
        dataset: Dataset,
        store: ImageStore,
        choice: TokenizerChoice,
    ) -> None:
        self.request, self.task, self.dataset = request, task, dataset
        self.store, self.choice = store, choice
        groups: dict[str, int] = {}
        for row in store.rows:
            groups[row.group] = groups.get(row.group, 0) + 1
        self.plan = Plan(
            dataset_id=dataset.id,
            split=dataset.split,
            ingest_rule=INGEST_RULE,
            resolution=store.images.shape[1],
            limit=request.limit,
            groups=groups,
            macro=dataset.card.macro,
        )
        self.definitions = dict(task.definitions(self.plan))
        self.identity = self._identity()
        self.path = record_path(
            request.output,
            task=task.name,
            dataset_id=dataset.id,
            tokenizer=choice.full_name,
            key8=self.identity.key8,
        )

    def _identity(self) -> Identity:
        weights = weights_path(self.choice)
        declared = self.choice.declared
        config = self.choice.config or (declared.config if declared else None)
        hashes = {name: definition.hash for name, definition in self.definitions.items()}
        return Identity(
            weights_sha256=file_sha256(weights) if weights else None,
            config_sha256=hash_value(dict(config)) if config else None,
            data_fingerprint=self.store.fingerprint,
            definitions_sha256=hash_value(hashes),
            limit=self.request.limit,
            precision=PRECISION,
            seed=self.request.seed if self.task.seeded else None,
        )

    @property
    def code_version(self) -> str:
        from . import package_version

        return f"{package_version()}/{self.task.name}-{self.task.stage_version}"

    def result(self) -> CellResult:
        """Answer from the record, or measure and write it."""
        known = self._known()
        if known is not None:
            return CellResult(
                self.choice.full_name, self.task.name, record=known, path=self.path, cached=True
            )
        record = self._measure()
        if self.path.exists():
            # --force replaces a record, and what it replaces stays readable.
            kept = self.path.with_suffix(".json.replaced")
            self.path.replace(kept)
        write_record(self.path, record)
        shutil.rmtree(self.work, ignore_errors=True)
        return CellResult(self.choice.full_name, self.task.name, record=record, path=self.path)

    def _known(self) -> Record | None:
        if self.request.force or not self.path.is_file():
            return None
        record = load_record(self.path)
        if record.environment.code_version != self.code_version:
            reason = (
                f"measured by {record.environment.code_version}, this is {self.code_version}; "
                "measure again with --force"
            )
            return record.model_copy(update={"status": "stale", "status_reason": reason})
        return record

    @property
    def work(self) -> Path:
        """Where the shards of this very cell and code lie."""
        key = f"{self.identity.key8}-{hash_value([self.code_version])[:8]}"
        relative = self.path.parent.relative_to(self.request.output)
        return self.request.output / ".work" / relative / key

    def _measure(self) -> Record:
        from .device import choose_device, repeatable_arithmetic

        device = choose_device(self.request.device)
        if self.request.force:
            shutil.rmtree(self.work, ignore_errors=True)
        # Written first: a place that cannot be written is found before hours of work.
        write_json(self.work / "cell.json", self.identity.model_dump())
        tokenizer = build_tokenizer(self.choice, device=device)
        info = replace(tokenizer.info, name=self.choice.entry.name, variant=self.choice.variant)
        batch = BatchSize(self.request.batch_size, device=device, note=self.work / "batch.json")
        cell = Cell(
            plan=self.plan,
            tokenizer=tokenizer,
            store=self.store,
            card=self.dataset.card,
            definitions=self.definitions,
            seed=self.request.seed,
            device=device,
            batch=batch,
            work=self.work,
            gallery=self.path.parent / f"{self.path.stem}.gallery",
        )
        logger.info("%s on %s: %d images", self.choice.full_name, self.dataset.id, len(self.store))
        with repeatable_arithmetic():
            try:
                outcome = self.task.run(cell)
            except NotApplicable as error:
                outcome = _not_applicable(str(error))
            except MedbenchError:
                raise
            except Exception as error:
                message = (
                    f"{self.choice.full_name} failed on {self.task.name}/{self.dataset.id}: "
                    f"{type(error).__name__}: {error}"
                )
                raise CellFailed(message) from error
        return self._record(outcome, info, device, batch.size)

    def _record(self, outcome: Outcome, info: Any, device: str, batch_size: int) -> Record:
        from dataclasses import asdict

        from .provenance import environment, utc_now

        facts = asdict(info)
        facts["modalities"] = list(info.modalities)
        facts["weights_sha256"] = self.identity.weights_sha256
        table, digest = self._write_rows(outcome)
        seconds = outcome.encode_seconds + outcome.decode_seconds
        status, reason = outcome.status, outcome.status_reason
        if self.store.failures and status == "ok":
            status = "partial"
            reason = f"{len(self.store.failures)} images could not be read"
        return Record(
            tokenizer=self.choice.entry.name,
            variant=self.choice.variant,
            task=self.task.name,
            dataset=self._dataset_facts(),
            info=InfoFacts(**facts),
            identity=self.identity,
            definitions=_used(outcome, self.definitions),
            metrics=outcome.metrics,
            status=status,
            status_reason=reason,
            warnings=outcome.warnings,
            clamped_fraction=outcome.clamped_fraction,
            timing=Timing(
                encode_seconds=outcome.encode_seconds,
                decode_seconds=outcome.decode_seconds,
                metric_seconds=outcome.metric_seconds,
                images_per_second=len(self.store) / seconds if seconds > 0 else None,
                batch_size=batch_size,
            ),
            environment=Environment(
                **environment(device=device, precision=PRECISION, code_version=self.code_version)
            ),
            command=self.request.command,
            created=utc_now(),
            per_image=table,
            per_image_sha256=digest,
            gallery=outcome.gallery,
        )

    def _write_rows(self, outcome: Outcome) -> tuple[str | None, str | None]:
        """The per-image table goes first: a record never points to a file that is not there."""
        from .files import atomic_writer

        if outcome.per_image.empty:
            return None, None
        path = self.path.with_suffix(".parquet")
        with atomic_writer(path) as file:
            outcome.per_image.to_parquet(file, index=False)
        return path.name, file_sha256(path)

    def _dataset_facts(self) -> DatasetFacts:
        patients = {row.patient for row in self.store.rows if row.patient}
        notes: dict[str, int] = {}
        for row in self.store.rows:
            for note in row.notes:
                notes[note] = notes.get(note, 0) + 1
        card = self.dataset.card
        return DatasetFacts(
            id=self.dataset.id,
            split=self.dataset.split,
            fingerprint=self.store.fingerprint,
            n=len(self.store),
            groups=dict(self.plan.groups),
            patients=len(patients) or None,
            limit=self.request.limit,
            resolution=self.plan.resolution,
            ingest_rule=self.plan.ingest_rule,
            licence=card.licence,
            macro=card.macro,
            pixels=card.pixels,
            failed=[FailedImage(id=f.id, reason=f.reason) for f in self.store.failures],
            notes=notes,
        )


def _used(outcome: Outcome, definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    used = {metric.definition for metric in outcome.metrics}
    return {d.id: d for d in definitions.values() if d.id in used}


def _not_applicable(reason: str) -> Outcome:
    import pandas as pd

    return Outcome(
        metrics=[], per_image=pd.DataFrame(), status="not-applicable", status_reason=reason
    )
