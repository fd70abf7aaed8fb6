"""One cell on its way to a record.

A cell whose record exists is answered from it, without torch. Otherwise it is measured in
resumable shards, and its record is written last and atomically.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import ranks
from .dataset_facts import data_warnings, dataset_facts
from .datasets.contamination import disclose
from .datasets.store import INGEST_RULE, ImageStore
from .errors import CellFailed, MedbenchError, NotApplicable
from .file_hashes import file_sha256
from .files import atomic_writer, hash_value, write_bytes, write_json
from .locations import cache_root
from .model_card import declared_corpus
from .precision import FULL, Precision, marked, precision_warnings
from .record import (
    Definition,
    Environment,
    Identity,
    InfoFacts,
    Record,
    Timing,
)
from .record_files import load_record, record_path, write_record
from .request import CellResult, Request
from .shards import BatchSize, out_of_memory
from .task import Cell, Outcome, Part, Plan, Task, not_applicable
from .task_options import scored_limit, takes_options, task_options
from .tokenizer_registry import TokenizerChoice, build_tokenizer, weights_path
from .weights_lock import original_sha256

if TYPE_CHECKING:
    from .datasets.dataset import Dataset
    from .protocol import TokenizerInfo

logger = logging.getLogger(__name__)

RESOLUTION = 256


class CellJob:
    """One cell on its way to a record."""

    def __init__(
        self,
        request: Request,
        task: Task,
        dataset: Dataset,
        store: ImageStore,
        choice: TokenizerChoice,
        parts: Mapping[str, Part] | None = None,
    ) -> None:
        self.request, self.task, self.dataset = request, task, dataset
        self.store, self.choice, self.parts = store, choice, dict(parts or {})
        chosen = task_options(task, request.options)
        # By hash where they are files, which `chosen` may move and the identity must not.
        self.options = dict(task.check_options(chosen)) if takes_options(task) else {}
        groups = dict(Counter(row.group for row in store.rows))
        self.plan = Plan(
            dataset_id=dataset.id,
            split=dataset.split,
            ingest_rule=INGEST_RULE,
            resolution=store.images.shape[1],
            limit=request.limit,
            groups=groups,
            macro=dataset.card.macro,
            options=chosen,
            parts={name: part.dataset.id for name, part in self.parts.items()},
        )
        self.precision = Precision(request.precision).stored
        self.definitions = marked(task.definitions(self.plan), self.precision)
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
            weights_sha256=original_sha256(weights) if weights else None,
            config_sha256=hash_value(dict(config)) if config else None,
            data_fingerprint=self.store.fingerprint,
            definitions_sha256=hash_value(hashes),
            limit=self.request.limit,
            precision=self.precision,
            seed=self.request.seed if self.task.seeded else None,
            options=self.options,
            parts={name: part.store.fingerprint for name, part in self.parts.items()},
        )

    @property
    def code_version(self) -> str:
        """What makes a record stale: medbench's version and the task's stage version."""
        from . import package_version

        return f"{package_version()}/{self.task.name}-{self.task.stage_version}"

    def result(self) -> CellResult:
        """Answer from the record, or measure and write it."""
        # Asked by one rank for all: a record that another process ends just now would part them.
        known = ranks.first(self._known)
        if known is not None or not self.request.measure:
            return CellResult(
                self.choice.full_name, self.task.name, record=known, path=self.path, cached=True
            )
        name = hash_value(str(self.path.absolute()))[:32]
        with ranks.alone(f"cell-{name}", f"the record of {self.choice.full_name}"):
            known = ranks.first(self._known)  # of another process, for which this one waited
            record = known or ranks.together(self._measure)
            if known is None and ranks.own() == 0:
                self._keep(record)
        return CellResult(
            self.choice.full_name,
            self.task.name,
            record=record,
            path=self.path,
            cached=known is not None,
        )

    def _keep(self, record: Record) -> None:
        """The record last of all; then what measuring it left, here or in a killed run, goes."""
        if self.path.exists():
            # --force replaces a record, and what it replaces stays readable.
            write_bytes(self.path.with_suffix(".json.replaced"), self.path.read_bytes())
        write_record(self.path, record)
        shutil.rmtree(self.work, ignore_errors=True)
        for begun in self.path.parent.glob(f".{self.path.stem}.*.part"):
            begun.unlink(missing_ok=True)

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
        ranks.first(self._begin)
        tokenizer = build_tokenizer(self.choice, device=device)
        info = replace(tokenizer.info, name=self.choice.entry.name, variant=self.choice.variant)
        if self.precision != FULL:
            from .autocast import in_bfloat16

            tokenizer = in_bfloat16(tokenizer, device)
        batch = BatchSize(
            self.request.batch_size,
            device=device,
            note=self.work / "batch.json",
            fitted=self._fitted(device),
        )
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
            dataset=self.dataset,
            parts=self.parts,
            identity=self.identity,
        )
        logger.info("%s on %s: %d images", self.choice.full_name, self.dataset.id, len(self.store))
        with repeatable_arithmetic():
            try:
                outcome = self.task.run(cell)
            except NotApplicable as error:
                outcome = not_applicable(str(error))
            except MedbenchError:
                raise
            except Exception as error:
                raise self._failure(error, device) from error
        return self._record(outcome, info, device, batch.size)

    def _failure(self, error: Exception, device: str) -> CellFailed:
        """What went wrong, where no kind of error of medbench's says it."""
        where = f"{self.choice.full_name} failed on {self.task.name}/{self.dataset.id}"
        if out_of_memory(error):
            why = "has too little memory for what measures the images, in batches of a fixed size"
            advice = "End other work there, or use another --device; finished shards are kept."
            return CellFailed(f"{where}: {device} {why} ({error}). {advice}")
        # Not of the user's making: the traceback is what a bug report needs.
        logger.error("%s", self.choice.full_name, exc_info=error)
        return CellFailed(f"{where}: {type(error).__name__}: {error}")

    def _begin(self) -> None:
        """The folder of shards: a place that cannot be written is found before hours of work."""
        if self.request.force:
            shutil.rmtree(self.work, ignore_errors=True)
        write_json(self.work / "cell.json", self.identity.model_dump())

    def _fitted(self, device: str) -> Path:
        """Where the batch size is kept that fits this tokenizer on this kind of device."""
        from .provenance import device_name

        which = self.identity.weights_sha256 or self.choice.full_name
        key = hash_value([which, self.identity.config_sha256, device_name(device), self.precision])
        return cache_root() / "batch-sizes" / f"{key[:32]}.json"

    def _record(
        self, outcome: Outcome, info: TokenizerInfo, device: str, batch_size: int
    ) -> Record:
        from .provenance import environment, utc_now

        facts = asdict(info)
        facts["modalities"] = list(info.modalities)
        facts["weights_sha256"] = self.identity.weights_sha256
        table, digest = ranks.first(lambda: self._write_rows(outcome))
        status, reason = outcome.status, outcome.status_reason
        corpus = declared_corpus(self.choice.entry.card, self.choice.variant)
        read = replace(self.plan, limit=scored_limit(self.task, self.dataset, self.plan))
        disclosure = disclose(self.dataset.card, info.training_data, corpus).text
        if self.store.failures and status == "ok":
            status = "partial"
            reason = f"{len(self.store.failures)} images could not be read"
        return Record(
            tokenizer=self.choice.entry.name,
            variant=self.choice.variant,
            task=self.task.name,
            dataset=dataset_facts(self.dataset, self.store, read, disclosure),
            info=InfoFacts(**facts),
            identity=self.identity,
            definitions=_used(outcome, self.definitions),
            metrics=outcome.metrics,
            status=status,
            status_reason=reason,
            warnings=[
                *data_warnings(self.dataset.card),
                *precision_warnings(self.precision),
                *outcome.warnings,
            ],
            clamped_fraction=outcome.clamped_fraction,
            timing=Timing(
                encode_seconds=outcome.encode_seconds,
                decode_seconds=outcome.decode_seconds,
                metric_seconds=outcome.metric_seconds,
                images_per_second=outcome.rate(len(self.store)),
                batch_size=batch_size,
            ),
            environment=Environment(
                **environment(
                    device=device, precision=self.precision, code_version=self.code_version
                )
            ),
            command=self.request.command,
            created=utc_now(),
            per_image=table,
            per_image_sha256=digest,
            gallery=outcome.gallery,
        )

    def _write_rows(self, outcome: Outcome) -> tuple[str | None, str | None]:
        """The per-image table goes first: a record never points to a file that is not there."""
        if outcome.per_image.empty:
            return None, None
        path = self.path.with_suffix(".parquet")
        with atomic_writer(path) as file:
            outcome.per_image.to_parquet(file, index=False)
        return path.name, file_sha256(path)


def _used(outcome: Outcome, definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    used = {metric.definition for metric in outcome.metrics}
    return {d.id: d for d in definitions.values() if d.id in used}
