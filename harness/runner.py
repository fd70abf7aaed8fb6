"""The runner: from a request to records, one cell after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from . import ranks
from .cell import RESOLUTION, CellJob
from .datasets.dataset import Dataset
from .datasets.parts import part_of
from .datasets.store import ingest
from .errors import MedbenchError
from .record import Record
from .registry import load_dataset, load_task
from .request import CellResult, Request, RunResult
from .task import Part, Task
from .task_options import check_all_taken, takes_options, task_options
from .tokenizer_registry import TokenizerChoice, choose_tokenizer

logger = logging.getLogger(__name__)


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


def execute(request: Request, *, choices: Sequence[TokenizerChoice] | None = None) -> RunResult:
    """Carry out a request; a failing cell does not stop the others.

    Args:
        request: what is wanted.
        choices: of tokenizers, instead of those that the request names.

    Raises:
        UsageError: the request itself is wrong (unknown names, counts below one).
        RankLost: another process of the same run is gone.
    """
    tasks = [load_task(name) for name in _distinct(request.tasks)]
    choices = choices or [
        choose_tokenizer(name, config=request.config, weights=request.weights, label=request.label)
        for name in _distinct(request.tokenizers)
    ]
    check_all_taken(tasks, request.options)
    cells: list[CellResult] = []
    for task in tasks:
        dataset = load_dataset(request.dataset or task.default_dataset, data_root=request.data_root)
        limit = request.limit
        if takes_options(task):
            limit = task.scored_limit(dataset, task_options(task, request.options), limit)
        whole = Part(dataset, ingest(dataset, limit=limit, side=RESOLUTION))
        parts = _other_parts(request, task, dataset)
        cells += [_attempt(request, task, whole, parts, choice) for choice in choices]
    return RunResult(cells)


def _other_parts(request: Request, task: Task, dataset: Dataset) -> dict[str, Part]:
    """What the task learns on, ingested once for all tokenizers."""
    if not takes_options(task):
        return {}
    wanted = task.parts(dataset, task_options(task, request.options), request.limit)
    found = {name: part_of(dataset, name, data_root=request.data_root) for name in wanted}
    return {
        name: Part(part, ingest(part, limit=wanted[name], side=RESOLUTION))
        for name, part in found.items()
    }


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _attempt(
    request: Request,
    task: Task,
    whole: Part,
    parts: Mapping[str, Part],
    choice: TokenizerChoice,
) -> CellResult:
    try:
        return CellJob(request, task, whole.dataset, whole.store, choice, parts).result()
    except ranks.RankLost:
        raise  # the next cell, too, would need the rank that is gone
    except MedbenchError as error:
        logger.debug("cell failed", exc_info=True)
        return CellResult(choice.full_name, task.name, error=error)
