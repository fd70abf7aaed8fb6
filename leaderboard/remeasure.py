"""A cell measured once more, beside its record."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..harness.errors import MedbenchError
from ..harness.precision import Precision
from ..harness.record import Metric, Record
from ..harness.record_files import Stored
from ..harness.request import Request
from ..harness.tables import Column

DEVICE_TOLERANCE = 1e-4
"""Relative: other processors and versions round differently, other weights differ by more."""


@dataclass(frozen=True, slots=True)
class Remeasured:
    """What measuring a cell again gave."""

    differences: Sequence[str]
    """Values that differ by more than rounding."""
    agree: int
    """Values that agree."""
    other_definitions: Sequence[str] = ()
    """Metrics that are defined otherwise here, and so cannot be compared."""
    reason: str | None = None
    """Why it could not be measured again; the rest is then empty."""


def remeasure(stored: Stored, *, data_root: Path | None, tokenizer: str | None) -> Remeasured:
    """Run the cell of a record again into a temporary folder, and compare.

    Args:
        stored: the record.
        data_root: where data lie.
        tokenizer: the reference to run, where the record's name is not registered here.
    """
    from ..harness.runner import execute

    record = stored.record
    doubt = _names_a_file(record) or (_names_code(record) if tokenizer is None else None)
    if doubt:
        return Remeasured([], 0, reason=doubt)
    with tempfile.TemporaryDirectory(prefix="medbench-recheck-") as folder:
        try:
            request = Request(
                tokenizers=[tokenizer or record.full_name],
                tasks=[record.task],
                dataset=record.dataset.id,
                limit=record.identity.limit,
                output=Path(folder),
                seed=record.identity.seed or 0,
                precision=Precision.of_record(record.identity.precision),
                data_root=data_root,
                options=_options(record),
                command="medbench recheck",
            )
            (cell,) = execute(request).cells
        except MedbenchError as error:
            return Remeasured([], 0, reason=str(error))
        if cell.record is None:
            return Remeasured([], 0, reason=str(cell.error))
        return _compared(record, cell.record)


def _options(record: Record) -> dict[str, str]:
    """The task's options as a user gives them; networks without the hash of their weights."""
    plain = re.compile("#[0-9a-f]+(?=,|$)")
    return {name: plain.sub("", value) for name, value in record.identity.options.items()}


def _names_a_file(record: Record) -> str | None:
    """Which option was a file, of which the record keeps the hash alone."""
    for name, value in record.identity.options.items():
        if value.startswith("file:") or re.fullmatch("[0-9a-f]{64}", value):
            return (
                f"it was made with a file of the user's (--{name}), and a record keeps no more of "
                f"that than its hash {value.removeprefix('file:')[:16]}. Run it with that file, "
                "and compare the records."
            )
    return None


def _names_code(record: Record) -> str | None:
    """Why a record's tokenizer is not run: data may not choose what is imported."""
    from ..harness.tokenizer_registry import family_entries

    prefix, colon, _ = record.full_name.partition(":")
    if not colon or prefix in family_entries():
        return None
    return (
        f"{record.full_name} is code, and what a record names is not imported. If you trust it, "
        "name it yourself: --tokenizer package.module:factory"
    )


def _compared(record: Record, again: Record) -> Remeasured:
    if again.dataset.fingerprint != record.dataset.fingerprint:
        reason = (
            f"the data here are other images: fingerprint {again.dataset.fingerprint[:12]}, "
            f"the record says {record.dataset.fingerprint[:12]}"
        )
        return Remeasured([], 0, reason=reason)
    if again.identity.weights_sha256 != record.identity.weights_sha256:
        return Remeasured([], 0, reason="the weights here are not those of the record")
    differences: list[str] = []
    other: dict[str, None] = {}
    agree = 0
    for metric in record.metrics:
        found = again.metric(metric.name, metric.group, metric.setting)
        if found is not None and found.definition_hash != metric.definition_hash:
            other[Column(metric.name, metric.setting).heading] = None
            continue
        difference = _difference(metric, found)
        if difference is None:
            agree += 1
        else:
            heading = Column(metric.name, metric.setting).heading
            differences.append(f"{heading} of {metric.group}: {difference}")
    return Remeasured(differences, agree, list(other))


def _difference(metric: Metric, found: Metric | None) -> str | None:
    if found is None:
        return "not measured here"
    if metric.n != found.n:
        return f"n is {metric.n:,} in the record, {found.n:,} here"
    if metric.value is None or found.value is None:
        same = metric.value is None and found.value is None
        return None if same else f"record {metric.value}, here {found.value}"
    if abs(metric.value - found.value) <= DEVICE_TOLERANCE * max(1.0, abs(metric.value)):
        return None
    return f"record {metric.value:.6g}, here {found.value:.6g}"
