"""Where cells run: on this machine, or on a Ray cluster. Both give attempts as they come."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from ..cluster import Cluster
from .attempt import Attempt, attempt
from .cells import SweepCell
from .spec import SweepSpec
from .state import SweepState


class Engine(Protocol):
    """Works through cells."""

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Iterator[Attempt]:
        """Attempts in the order in which they end.

        Args:
            cells: to be run.
            started: told of each cell when it begins, where that is known.
        """
        ...


class LocalEngine:
    """Processes on this machine, so many at a time on each device."""

    def __init__(self, spec: SweepSpec, output: Path) -> None:
        self._spec, self._output = spec, output
        self._slots: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in spec.devices:
            for _ in range(spec.at_a_time):
                self._slots.put(device)

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Iterator[Attempt]:
        """See `Engine`."""
        workers = len(self._spec.devices) * self._spec.at_a_time
        with ThreadPoolExecutor(workers) as pool:
            waiting = {pool.submit(self._run, cell, started) for cell in cells}
            try:
                while waiting:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, cell: SweepCell, started: Callable[[SweepCell], None]) -> Attempt:
        device = self._slots.get()
        try:
            started(cell)
            return attempt(
                cell,
                output=self._output,
                log=SweepState(self._output).log(cell.key),
                device=device,
                threads=self._spec.threads,
                retries=self._spec.retries,
            )
        finally:
            self._slots.put(device)


class RayEngine:
    """Tasks on a Ray cluster whose nodes share the results directory and the cache.

    A cell whose node is lost is started again, and goes on from its shards.

    Args:
        spec: of the sweep.
        output: results directory, at the same place on every node.
        address: of the cluster; None: the one that the environment names, else one of its own.

    Raises:
        MissingPrerequisite: Ray is not installed.
        UsageError: no cluster at that address.
    """

    def __init__(self, spec: SweepSpec, output: Path, *, address: str | None = None) -> None:
        self._cluster = Cluster(address)
        self._spec, self._output = spec, output.absolute()

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Iterator[Attempt]:
        """See `Engine`; when a cell starts is not known here."""
        del started
        spec, output = self._spec, self._output
        on_gpu = any(device.startswith("cuda") for device in spec.devices)
        terms = {
            "output": output,
            "device": "auto" if on_gpu else spec.devices[0],
            "threads": spec.threads,
            "retries": spec.retries,
        }
        ends = self._cluster.each(
            attempt,
            [{"cell": c, "log": SweepState(output).log(c.key), **terms} for c in cells],
            retries=spec.retries + 1,
            resources={"num_gpus": 1 / spec.at_a_time} if on_gpu else {"num_cpus": spec.threads},
        )
        for end in ends:
            if end.result is not None:
                yield end.result
            else:
                reason = str(end.problem).splitlines()[0]
                key = cells[end.place].key
                yield Attempt(key, "failed", 0.0, spec.retries + 1, reason)
