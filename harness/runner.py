"""The runner: from a request to records, one cell after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        UsageError: the request itself is wrong: unknown names, an option that a task refuses.
        MissingPrerequisite: data or files that a task was told to use are not on this machine.
        RankLost: another process of the same run is gone.
    """
    tasks = [load_task(name) for name in _distinct(request.tasks)]
    choices = choices or [
        choose_tokenizer(name, config=request.config, weights=request.weights, label=request.label)
        for name in _distinct(request.tokenizers)
    ]
    check_all_taken(tasks, request.options)
    # What is wrong with any of them is told before the first image is read.
    wanted = [_wanted(request, task) for task in tasks]
    cells: list[CellResult] = []
    for task, each in zip(tasks, wanted, strict=True):
        whole = each.scored.ingested()
        parts = {name: part.ingested() for name, part in each.parts.items()}
        cells += [_attempt(request, task, whole, parts, choice) for choice in choices]
    return RunResult(cells)


@dataclass(frozen=True, slots=True)
class _Unread:
    """A part of a dataset, and how many images per group of it are read; None: all."""

    dataset: Dataset
    limit: int | None

    def ingested(self) -> Part:
        return Part(self.dataset, ingest(self.dataset, limit=self.limit, side=RESOLUTION))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The images of a task: those that it scores, and those that it learns on."""

    scored: _Unread
    parts: Mapping[str, _Unread]


def _wanted(request: Request, task: Task) -> _Wanted:
    """What a task reads, the same for all tokenizers; its options are checked."""
    dataset = load_dataset(request.dataset or task.default_dataset, data_root=request.data_root)
    if not takes_options(task):
        return _Wanted(_Unread(dataset, request.limit), {})
    chosen = task_options(task, request.options)
    task.check_options(chosen)
    limit = task.scored_limit(dataset, chosen, request.limit)
    if limit is not None and request.limit is None:
        logger.info("%s on %s: %d images of each group at most", task.name, dataset.id, limit)
    parts = {
        name: _Unread(part_of(dataset, name, data_root=request.data_root), most)
        for name, most in task.parts(dataset, chosen, request.limit).items()
    }
    return _Wanted(_Unread(dataset, limit), parts)


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
