"""A request to end, as from a scheduler, made one to save first."""

from __future__ import annotations

import signal
from types import TracebackType

import torch

from . import parallel


class StopRequest:
    """Takes note of SIGTERM while it is entered."""

    def __init__(self) -> None:
        self._asked = False
        self._before: object = None

    def __enter__(self) -> StopRequest:
        try:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        except ValueError:  # not in the main thread: nobody can be asked
            self._before = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)  # type: ignore[arg-type]

    def made(self) -> bool:
        """Whether any process was asked; all get the same answer, so that none waits in vain."""
        asked = torch.tensor([float(self._asked)])
        parallel.sum_over_processes([asked])
        return bool(asked)

    def _ask(self, *_: object) -> None:
        self._asked = True
