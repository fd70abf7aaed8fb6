"""Where cells run: on this machine, or on a Ray cluster. Both give attempts as they come."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingPrerequisite
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

    Ray restarts a cell whose node is lost; a cell that was cut off goes on from its shards.

    Args:
        spec: of the sweep.
        output: results directory, at the same place on every node.
        address: of the cluster; None: the one that the environment names, else one of its own.
    """

    def __init__(self, spec: SweepSpec, output: Path, *, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            message = "--engine ray needs Ray: pip install 'medbench[ray]'"
            raise MissingPrerequisite(message) from error
        self._ray: Any = ray
        self._spec, self._output = spec, output.absolute()
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, include_dashboard=False)

    def run(
        self, cells: Sequence[SweepCell], started: Callable[[SweepCell], None]
    ) -> Iterator[Attempt]:
        """See `Engine`; when a cell starts is not known here."""
        del started
        spec, output = self._spec, self._output
        on_gpu = any(device.startswith("cuda") for device in spec.devices)
        resources = {"num_gpus": 1 / spec.at_a_time} if on_gpu else {"num_cpus": spec.threads}
        remote = self._ray.remote(
            max_retries=spec.retries + 1, retry_exceptions=False, **resources
        )(attempt)
        waiting = {
            remote.remote(
                cell,
                output=output,
                log=SweepState(output).log(cell.key),
                device="auto" if on_gpu else spec.devices[0],
                threads=spec.threads,
                retries=spec.retries,
            ): cell
            for cell in cells
        }
        while waiting:
            ended, _ = self._ray.wait(list(waiting), num_returns=1)
            for reference in ended:
                cell = waiting.pop(reference)
                yield self._result(reference, cell)

    def _result(self, reference: Any, cell: SweepCell) -> Attempt:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            lines = str(error).splitlines()
            return Attempt(cell.key, "failed", 0.0, self._spec.retries + 1, lines[0])
