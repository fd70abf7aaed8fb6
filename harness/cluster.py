"""A Ray cluster, as sweeps and curation use it: tasks that leave their results in shared files."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from .errors import MedbenchError, MissingPrerequisite, UsageError

T = TypeVar("T")

_ENDING_SECONDS = 60.0
"""How long stopped tasks may take to end."""
_ANSWER_SECONDS = 5.0
"""How long a cluster may take to answer."""


class EngineName(StrEnum):
    """Where cells run."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class TaskEnd(Generic[T]):
    """How a task ended.

    Attributes:
        place: of its arguments among those given.
        result: what it returned; None where it failed.
        problem: what it raised, or the loss of its node after all retries; None where it did well.
    """

    place: int
    result: T | None
    problem: Exception | None


class Cluster:
    """The cluster at an address.

    Nodes must share the folders that the tasks write, at the same paths. A task whose node is lost
    is started again on another one.

    Args:
        address: of the cluster; None: the one that the environment names, else one of its own.

    Raises:
        MissingPrerequisite: Ray is not installed.
        UsageError: no cluster at that address.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            message = "--engine ray needs Ray: pip install 'medbench[ray]'"
            raise MissingPrerequisite(message) from error
        self._ray: Any = ray
        if ray.is_initialized():
            return
        _require_answer(address or os.environ.get("RAY_ADDRESS", ""))
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError) as error:
            message = f"no Ray cluster at {address or 'the address in RAY_ADDRESS'}: {error}"
            raise UsageError(message) from error

    @property
    def gpus(self) -> float:
        """Of all nodes together."""
        return self._ray.cluster_resources().get("GPU", 0.0)

    def each(
        self,
        work: Callable[..., T],
        arguments: Sequence[Mapping[str, Any]],
        *,
        retries: int,
        resources: Mapping[str, float],
    ) -> Generator[TaskEnd[T]]:
        """Call `work` with each of the arguments; how each call ended, as they end.

        Closing it early ends the calls: those that run meet a `KeyboardInterrupt`.

        Args:
            work: importable on every node.
            arguments: by name, for each call.
            retries: after the loss of a node; what `work` raises is not tried again.
            resources: of one call: `num_cpus`, `num_gpus`.
        """
        rules = {"max_retries": retries, "retry_exceptions": False}
        remote = self._ray.remote(**rules, **resources)(_stoppable)
        waiting = {remote.remote(work, terms): place for place, terms in enumerate(arguments)}
        try:
            while waiting:
                ended, _ = self._ray.wait(list(waiting), num_returns=1)
                for reference in ended:
                    yield self._end(reference, waiting.pop(reference))
        finally:
            for reference in waiting:
                self._ray.cancel(reference)
            if waiting:
                left = list(waiting)
                self._ray.wait(left, num_returns=len(left), timeout=_ENDING_SECONDS)

    def _end(self, reference: Any, place: int) -> TaskEnd[Any]:
        errors = self._ray.exceptions
        try:
            return TaskEnd(place, self._ray.get(reference), None)
        except errors.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, MedbenchError) else error
            return TaskEnd(place, None, cause)
        except errors.RayError as error:
            return TaskEnd(place, None, error)


def _require_answer(address: str) -> None:
    """Refuse a `host:port` where nobody listens, which Ray itself would ask for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():  # `auto`, or none; Ray refuses the rest at once
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        message = f"no Ray cluster at {address}: {error}. Start one: ray start --head"
        raise UsageError(message) from error


def _stoppable(work: Callable[..., T], terms: Mapping[str, Any]) -> T:
    """Call it where Ray can stop it: by SIGINT, which a node started in the background ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return work(**terms)
