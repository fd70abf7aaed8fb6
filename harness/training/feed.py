"""Batches for a training run: the same ones for any number of workers and of processes.

Every image has a position, a running number over the whole run, and is a pure function of it. The
plan says how many positions a batch takes; each process of a run makes its own rows of them.
"""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..errors import MedbenchError, UsageError
from . import parallel
from .sources.source import ImageSource

_LOG = logging.getLogger(__name__)


def _outlive_sigterm(number: int) -> None:
    """A scheduler asks the whole group to end: the run saves first, and needs its workers."""
    del number
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


_AHEAD = 2
"""Batches that each worker prepares ahead."""
_MOST_REFUSED = 0.01
"""Share of images that may be unreadable: damage is passed over, a wrong folder is not."""
_FEW = 10
"""So many may be at any time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One process's share of a batch.

    Attributes:
        images: float32 (b, 3, side, side) in [0, 1].
        texts: what is paired with each image; empty where there is nothing.
        labels: each image's class; empty where none is known.
        modalities: of each image; empty where there is none.
        positions: of the images in the run's sequence.
    """

    images: torch.Tensor
    texts: list[str]
    labels: list[str]
    modalities: list[str]
    positions: range


Plan = Callable[[int], tuple[int, int]]
"""Step -> images of each of its batches over all processes, and their side in pixels."""


class Feed:
    """A source's images in the batches of a run.

    Args:
        source: where images come from.
        plan: what the batches of a step are.
        parts: batches per step.
        workers: processes that prepare batches ahead; 0 prepares them in this one. They are
            spawned, so a script that starts them needs its `if __name__ == "__main__"`.
    """

    def __init__(self, source: ImageSource, plan: Plan, parts: int, *, workers: int = 0) -> None:
        self.source = source
        self.plan = plan
        self.parts = parts
        self.workers = workers

    def start(self, step: int) -> int:
        """Position of the first image of step `step`: what the steps before it take, in all."""
        return sum(self.plan(earlier)[0] for earlier in range(step)) * self.parts

    def batches(self, first_step: int) -> Iterator[Batch]:
        """This process's rows of every batch from `first_step` on, without end.

        Raises:
            UsageError: a batch cannot be shared evenly, or too many images cannot be read.
        """
        loader = DataLoader(
            _Maker(self.source),
            batch_size=None,
            sampler=self._tasks(first_step),
            num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
            prefetch_factor=_AHEAD if self.workers else None,
            worker_init_fn=_outlive_sigterm,
            generator=torch.Generator(),  # else starting it would draw from the global one
        )
        refused = _Refused()
        for made in loader:
            if isinstance(made, MedbenchError):
                raise made
            refused.add(made)
            yield made.batch

    def _tasks(self, first_step: int) -> Iterator[_Task]:
        position = self.start(first_step)
        for step in itertools.count(first_step):
            count, side = self.plan(step)
            rows = parallel.own_rows(count)
            for _ in range(self.parts):
                yield _Task(range(position + rows.start, position + rows.stop), side)
                position += count


class NoBatch(UsageError):
    """Images of a step cannot be read; a checkpoint of the step before is kept."""


def next_batch(batches: Iterator[Any]) -> Any:
    """This process's share of the next batch.

    Raises:
        NoBatch: one of the processes cannot have its share; all of them are told.
    """
    batch, problem = None, None
    try:
        batch = next(batches)
    except MedbenchError as error:
        problem = error
    failed = torch.tensor([float(problem is not None)])
    parallel.sum_over_processes([failed])
    if problem is not None:
        raise NoBatch(str(problem)) from problem
    if failed:
        message = "Another process cannot read its images; it says which."
        raise NoBatch(message)
    return batch


@dataclass(frozen=True, slots=True)
class _Task:
    positions: range
    side: int


@dataclass(frozen=True, slots=True)
class _Made:
    batch: Batch
    problems: tuple[str, ...]


class _Maker(Dataset):
    """Makes whole batches; what DataLoader calls a data set."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def __getitem__(self, task: _Task) -> _Made | MedbenchError:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            samples = [self._source.sample(p, task.side) for p in task.positions]
        except MedbenchError as error:
            return error  # raised in a worker, it would arrive wrapped in a worker's traceback
        batch = Batch(
            images=_stacked([sample.image for sample in samples]),
            texts=[sample.text for sample in samples],
            labels=[sample.label for sample in samples],
            modalities=[sample.modality for sample in samples],
            positions=task.positions,
        )
        return _Made(batch, tuple(p for sample in samples for p in sample.problems))


def _stacked(images: list[torch.Tensor]) -> torch.Tensor:
    """(b, 3, side, side); in a worker in shared memory at once, where its queue would copy it."""
    if get_worker_info() is None:
        return torch.stack(images)
    shared = torch.empty(len(images), *images[0].shape).share_memory_()
    return torch.stack(images, out=shared)


class _Refused:
    """Images that could not be read: each is told once, and too many end the run."""

    def __init__(self) -> None:
        self._seen = 0
        self._problems: set[str] = set()
        self._count = 0

    def add(self, made: _Made) -> None:
        self._seen += len(made.batch.positions)
        self._count += len(made.problems)
        for problem in sorted(set(made.problems) - self._problems):
            _LOG.warning("left out: %s", problem)
        self._problems |= set(made.problems)
        if self._count > max(_FEW, _MOST_REFUSED * self._seen):
            message = (
                f"{self._count} of {self._seen} training images cannot be used, for instance: "
                f"{min(self._problems)}. Mend the files and go on with --resume, or begin again "
                "with a list without them."
            )
            raise UsageError(message)
