"""Networks that are trained once and kept: by one process at a time, resumed, and whole."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from .. import ranks
from ..sealed import is_whole
from . import parallel
from .checkpoint import DamagedCheckpoint
from .loop import Trainer

_LOG = logging.getLogger(__name__)


def train_once(
    path: Path,
    build: Callable[[], Trainer],
    write: Callable[[Path, Mapping[str, Tensor]], None],
    *,
    what: str,
) -> None:
    """Leave the weights of a trained network at `path`, unless they are there and whole.

    A training that was stopped goes on; where its checkpoint is damaged, it begins again.

    Args:
        path: of the weights, in a folder that is this training's own.
        build: makes the trainer, whose checkpoints are removed in the end.
        write: puts what the recipe exports at the path, with a seal.
        what: is trained, for whoever waits for it.

    Raises:
        Interrupted: SIGTERM came; the next run goes on from the checkpoint.
        NonFiniteLoss: the training broke down.
    """
    with ranks.alone(f"{path.parent.parent.name}-{path.parent.name}", what):
        # Asked by one rank for all: who finds it whole would not train, and the others wait for it.
        if ranks.first(lambda: is_whole(path)):
            return
        trainer = build()
        try:
            trainer.resume()
        except DamagedCheckpoint as error:
            _LOG.warning("%s: %s", what, error)
        weights = trainer.recipe.export(trainer.run())
        if parallel.rank() == 0:
            write(path, weights)
            shutil.rmtree(trainer.checkpoints, ignore_errors=True)
        parallel.wait_for_all()
