"""What a run tells while it runs: its curve, its validations, its pictures."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..files import write_bytes
from .curve_picture import draw_curve
from .curves import Curve
from .events import Events
from .json_lines import StepLines, read_lines
from .recipe import Validation
from .step_display import StepDisplay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_CURVE, _VALIDATION = "curve.jsonl", "validation.jsonl"
_SAMPLE = re.compile(r"step-(\d+)\.png")
_DRAWING_SHARE = 0.01
"""Of a run's time, that its picture may take."""


class Journal:
    """Writes a run's readings below its folder, and shows them.

    The folder gets `curve.jsonl` and `validation.jsonl`, which hold everything, and made of them
    `curve.png`, `tensorboard/` and the sheets `samples/step-0000500.png`. What cannot be written
    is a warning and does not end the run.

    Args:
        folder: of the run; None writes and shows nothing (another process does).
        steps: of the whole run.
        log_every: steps per line of the curve.
        first_step: where the run starts or resumes; what was told of later steps is dropped.
    """

    def __init__(self, folder: Path | None, *, steps: int, log_every: int, first_step: int) -> None:
        self._folder = folder
        self._curve = Curve(steps=steps, log_every=log_every)
        self._lines = StepLines(folder and folder / _CURVE, last_step=first_step)
        self._validations = StepLines(folder and folder / _VALIDATION, last_step=first_step)
        self._events = Events(folder and folder / "tensorboard", first_step=first_step)
        self._display = StepDisplay(steps=steps, first_step=first_step) if folder else None
        self._next_drawing = 0.0
        self._undrawn = False
        if folder is not None:
            _drop_samples(folder / "samples", last_step=first_step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.close()
        self._flush()
        self._events.close()
        self._next_drawing = 0.0
        self._draw()

    def add(self, step: int, readings: Mapping[str, float], *, images: int) -> None:
        """Take in the readings of step `step` (counted from 0), of `images` images."""
        line = self._curve.add(step, readings, images=images)
        if self._display is not None:
            self._display.step(step + 1, images, lambda: line or self._curve.means)
        if line is not None and self._folder is not None:
            self._lines.append(line)
            self._undrawn = True
            self._events.add_scalars("training", _scores(line), step + 1)
        if line is not None and self._display is not None:
            self._display.line(line)

    def add_validation(self, done: int, found: Validation) -> None:
        """Take in a validation after `done` steps."""
        if self._folder is None or not (found.scores or found.picture is not None):
            return
        scores = {name: float(value) for name, value in found.scores.items()}
        _LOG.info(
            "validation after step %d  %s",
            done,
            "  ".join(f"{k} {v:.4g}" for k, v in scores.items() if "/" not in k),
        )
        self._validations.append({"step": done, **scores})
        self._undrawn = True
        self._events.add_scalars("validation", scores, done)
        if found.picture is not None:
            with _harmless("the sheet of samples"):
                path = self._folder / "samples" / f"step-{done:07d}.png"
                write_bytes(path, _png(found.picture))
            self._events.add_picture("samples", found.picture, done)
        self._draw()

    def state_dict(self) -> dict[str, Any]:
        """The line in progress; everything before it is on disk when this returns."""
        self._flush()
        return {"curve": self._curve.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._curve.load_state_dict(state["curve"])

    def _flush(self) -> None:
        self._lines.flush()
        self._validations.flush()
        self._events.flush()

    def _draw(self) -> None:
        """Renew `curve.png`, unless the last time was so short ago that it would cost."""
        began = time.monotonic()
        if self._folder is None or not self._undrawn or began < self._next_drawing:
            return
        self._undrawn = False
        with _harmless("curve.png"):
            lines = read_lines(self._folder / _CURVE)
            validations = read_lines(self._folder / _VALIDATION)
            if lines or validations:
                picture = draw_curve(lines, validations, title=self._folder.name)
                write_bytes(self._folder / "curve.png", picture)
        now = time.monotonic()
        self._next_drawing = now + (now - began) / _DRAWING_SHARE


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    """Make an error a warning: a picture is not worth a run."""
    try:
        yield
    except Exception as error:
        _LOG.warning("%s could not be made: %s", what, error)


def _scores(line: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "step"}


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="png")
    return file.getvalue()


def _drop_samples(folder: Path, *, last_step: int) -> None:
    for path in folder.glob("step-*.png"):
        name = _SAMPLE.fullmatch(path.name)
        if name is not None and int(name[1]) > last_step:
            path.unlink(missing_ok=True)
