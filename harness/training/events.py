"""TensorBoard events of a run, where TensorBoard is installed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch.utils.tensorboard import SummaryWriter

_LOG = logging.getLogger(__name__)


class Events:
    """Writes scalars and pictures; gives up with a warning where they cannot be written.

    Args:
        folder: for event files; None writes nothing.
        first_step: where the run starts or resumes; TensorBoard hides what was told of later
            steps.
    """

    def __init__(self, folder: Path | None, *, first_step: int) -> None:
        self._writer: SummaryWriter | None = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            _LOG.debug("TensorBoard is not installed: no events are written")
            return
        with self._giving_up():
            self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def add_scalars(self, group: str, values: Mapping[str, float], done: int) -> None:
        """Tell of numbers after `done` steps."""
        if self._writer is not None:
            with self._giving_up():
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}", value, done)

    def add_picture(self, name: str, picture: NDArray[np.uint8], done: int) -> None:
        """Show uint8 (H, W, 3) after `done` steps."""
        if self._writer is not None:
            with self._giving_up():
                self._writer.add_image(name, picture, done, dataformats="HWC")

    def flush(self) -> None:
        """Have on disk what was told."""
        if self._writer is not None:
            with self._giving_up():
                self._writer.flush()

    def close(self) -> None:
        """Have all on disk, and end."""
        if self._writer is not None:
            with self._giving_up():
                self._writer.close()
            self._writer = None

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Make an error the end of the events, but not of the run."""
        try:
            yield
        except Exception as error:
            _LOG.warning("no more TensorBoard events (%s); curve.jsonl has it all", error)
            self._writer = None
