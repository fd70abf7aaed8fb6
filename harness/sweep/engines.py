"""Where cells run: on this machine, or on a Ray cluster. Both give attempts as they come."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Protocol

from ..cluster import Cluster
from .attempt import Attempt, RunTerms, attempt
from .begun import telling_of_begun
from .cells import SweepCell
from .spec import SweepSpec
from .state import SweepState

logger = logging.getLogger(__name__)

_CARRIED = ("MEDBENCH_", "HF_")
"""Variables that say where data, caches and weights lie begin so."""


class Engine(Protocol):
    """Works through cells."""

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Generator[Attempt]:
        """Attempts in the order in which they end; closing it ends the cells that run.

        Args:
            cells: to be run.
            started: told of each cell when it begins.
        """
        ...


class LocalEngine:
    """Processes on this machine, so many at a time on each device.

    Args:
        spec: of the sweep.
        output: results directory.
        force: measure again, whatever records there are.
    """

    def __init__(self, spec: SweepSpec, output: Path, *, force: bool = False) -> None:
        self._spec = spec
        self._terms = RunTerms(output, spec.threads, spec.retries, force)
        self._slots: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in spec.devices:
            for _ in range(spec.at_a_time):
                self._slots.put(device)

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Generator[Attempt]:
        """See `Engine`."""
        workers = len(self._spec.devices) * self._spec.at_a_time
        stop = threading.Event()
        with ThreadPoolExecutor(workers) as pool:
            waiting = {pool.submit(self._run, cell, started, stop) for cell in cells}
            try:
                while waiting:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield future.result()
            finally:
                stop.set()
                if waiting:
                    logger.info("stopping: what runs saves what it has and ends")
                pool.shutdown(cancel_futures=True)

    def _run(
        self, cell: SweepCell, started: Callable[[SweepCell], None], stop: threading.Event
    ) -> Attempt:
        device = self._slots.get()
        try:
            started(cell)
            log = SweepState(self._terms.output).log(cell.key)
            return attempt(cell, self._terms, log=log, device=device, stop=stop)
        finally:
            self._slots.put(device)


class RayEngine:
    """Tasks on a Ray cluster whose nodes share the results directory and the cache.

    A cell whose node is lost is started again, and goes on from its shards. Cells get this
    process's folder, for relative paths, and its variables that say where things lie.

    Args:
        spec: of the sweep.
        output: results directory, at the same place on every node.
        address: of the cluster; None: the one that the environment names, else one of its own.
        force: measure again, whatever records there are.

    Raises:
        MissingPrerequisite: Ray is not installed.
        UsageError: no cluster at that address.
    """

    def __init__(
        self, spec: SweepSpec, output: Path, *, address: str | None = None, force: bool = False
    ) -> None:
        self._cluster = Cluster(address)
        self._spec = spec
        self._terms = RunTerms(
            output.absolute(),
            spec.threads,
            spec.retries,
            force,
            environment={n: v for n, v in os.environ.items() if n.startswith(_CARRIED)},
            folder=Path.cwd(),
        )

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Generator[Attempt]:
        """See `Engine`; that a cell begins is seen up to a second later, by its log."""
        spec, state = self._spec, SweepState(self._terms.output)
        resources: dict[str, float] = {"num_cpus": spec.threads}
        device = spec.devices[0]
        if self._on_gpu():
            # Which one is Ray's to say, by the variable that hides the others.
            resources["num_gpus"], device = 1 / spec.at_a_time, "auto"
        same = {"terms": self._terms, "device": device}
        calls = [{"cell": cell, "log": state.log(cell.key), **same} for cell in cells]
        ends = self._cluster.each(attempt, calls, retries=spec.retries + 1, resources=resources)
        logs = {cell: state.log(cell.key) for cell in cells}
        with telling_of_begun(logs, started), closing(ends):
            for end in ends:
                if end.result is not None:
                    yield end.result
                else:
                    reason = str(end.problem).splitlines()[0]
                    key = cells[end.place].key
                    yield Attempt(key, "failed", 0.0, spec.retries + 1, reason)

    def _on_gpu(self) -> bool:
        """Whether cells take GPUs: named ones, or for `auto` those that the cluster has."""
        named = any(device.startswith("cuda") for device in self._spec.devices)
        return named or ("auto" in self._spec.devices and self._cluster.gpus > 0)
