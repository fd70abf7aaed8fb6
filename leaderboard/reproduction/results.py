"""Our values for a paper's cells: from records that exist, or measured now."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...harness.errors import MedbenchError
from ...harness.precision import FULL
from ...harness.record import Metric, Record
from ...harness.record_files import read_results
from ...harness.tables import Column
from .plan import PRESET, PlannedCell

logger = logging.getLogger(__name__)

_WHY: Mapping[str, str] = {
    "rfid": "the paper's resizer and network file are not stated; the suite's draw is not either",
    "psnr": "rounding and resize of the paper are not stated (they cost up to 0.9 dB)",
    "ssim": "window and data range of the paper are not stated (up to 0.1 apart)",
    "map": "peak on the test as printed; pools and learning rate are not stated",
    "auc": "peak on the test as printed; pools and learning rate are not stated",
    "gfid": "reference set and number of samples are not stated",
    "diversity": "formula and pairs are not stated",
    "overall": "the paper's definition of accuracy is not published",
}


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A printed cell with our value beside it.

    Attributes:
        cell: as planned.
        ours: in the paper's unit; None where it could not be measured.
        why: what a difference may come from, or why there is no value.
    """

    cell: PlannedCell
    ours: float | None
    why: str

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.ours is None else self.ours - self.cell.row.value


Key = tuple[str, str, str]


def run_missing(
    cells: Sequence[PlannedCell], results: Path, *, data_root: Path | None, device: str | None
) -> list[str]:
    """Measure what can be measured and is not yet in `results`; returns the failures in words."""
    from ...harness.request import Request
    from ...harness.runner import execute

    wanted: dict[Key, None] = {}
    for cell in cells:
        if cell.tokenizer is not None and not cell.missing and not cell.is_mean:
            for dataset in cell.datasets:
                wanted[(cell.task, dataset, cell.tokenizer)] = None
    failures = []
    for task, dataset, tokenizer in wanted:
        logger.info("%s of %s on %s", task, tokenizer, dataset)
        try:
            request = Request(
                tokenizers=[tokenizer],
                tasks=[task],
                dataset=dataset,
                output=results,
                data_root=data_root,
                device=device,
                command=f"medbench run --tokenizer {tokenizer} --task {task} --dataset {dataset}",
            )
            errors = [cell.error for cell in execute(request).cells if cell.error is not None]
        except MedbenchError as error:
            errors = [error]
        failures += [f"{task} of {tokenizer} on {dataset}: {error}" for error in errors]
    return failures


def reproduced(cells: Sequence[PlannedCell], results: Path) -> list[Reproduced]:
    """Our values, from the records in `results`; means from their cells."""
    return beside(cells, read_results(results).records if results.is_dir() else [])


def beside(cells: Sequence[PlannedCell], records: Iterable[Record]) -> list[Reproduced]:
    """Our values for a paper's cells, from these records alone; means from their cells."""
    # Only whole data sets stand beside a paper's values, and only float32.
    known = {
        (r.task, r.dataset.id, r.full_name): r
        for r in records
        if r.identity.limit is None and r.identity.precision == FULL and _by_recipe(r)
    }
    single = [_single(cell, known) for cell in cells if not cell.is_mean]
    by_row: dict[tuple[str, str, str], list[Reproduced]] = {}
    for each in single:
        by_row.setdefault(_row_key(each.cell), []).append(each)
    found = iter(single)
    return [
        _mean(cell, by_row.get(_row_key(cell), [])) if cell.is_mean else next(found)
        for cell in cells
    ]


def _by_recipe(record: Record) -> bool:
    """Whether it was made as the paper's was, where a task can be done in several ways.

    Models and answers from elsewhere are the paper's by the user's word; of a generator from
    elsewhere a record does not say what it has learnt.
    """
    options = record.identity.options
    if record.task == "synthesis":
        return options == {"preset": PRESET}
    return options.get("preset", PRESET) == PRESET


def _row_key(cell: PlannedCell) -> tuple[str, str, str]:
    return (cell.row.table, cell.row.method, cell.row.metric)


def _single(cell: PlannedCell, known: Mapping[Key, Record]) -> Reproduced:
    metrics: list[Metric] = []
    for dataset in cell.datasets:
        record = known.get((cell.task, dataset, cell.tokenizer or ""))
        if record is None:
            lacking = "; ".join(cell.missing) or f"not measured yet on {dataset}"
            return Reproduced(cell, None, f"missing: {lacking}")
        metric = Column(cell.metric, cell.setting).of(record, cell.group)
        if metric is None or metric.value is None:
            reason = metric.reason if metric is not None else "not in the record"
            return Reproduced(cell, None, f"{dataset}: {reason}")
        metrics.append(metric)
    if not metrics:
        return Reproduced(cell, None, f"missing: {'; '.join(cell.missing)}")
    images = sum(metric.n for metric in metrics)
    value = sum((metric.value or 0.0) * metric.n for metric in metrics) / images
    return Reproduced(cell, value * cell.scale, _WHY[cell.metric])


def _mean(cell: PlannedCell, parts: Sequence[Reproduced]) -> Reproduced:
    values = [part.ours for part in parts if part.ours is not None]
    if not parts or len(values) < len(parts):
        lacking = ", ".join(part.cell.row.place for part in parts if part.ours is None)
        return Reproduced(cell, None, f"missing: a mean needs all cells; without {lacking}")
    return Reproduced(cell, math.fsum(values) / len(values), _WHY[cell.metric])
