"""Checkpoints: whole or not there, and safe to read."""

from __future__ import annotations

import logging
import pickle
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..documents import load_json
from ..errors import UsageError
from ..files import atomic_writer, write_json
from ..passing import run_again_if_passing
from ..sealed import checked, is_damaged, seal, unchecked, write_sealed

_LATEST = "latest.json"
_PARTS = ("model.safetensors", "average.safetensors", "state.pt", "config.json")
_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 5.0
"""Between attempts to write a checkpoint."""


class DamagedCheckpoint(UsageError):
    """A checkpoint is there, and cannot be used."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    Attributes:
        step: steps done.
        model: the model's state dict.
        average: the running mean of the weights, or None.
        state: optimiser, recipe and counters (tensors, numbers, strings and containers of them).
        config: the run's complete configuration.
    """

    step: int
    model: Mapping[str, torch.Tensor]
    average: Mapping[str, torch.Tensor] | None
    state: Mapping[str, Any]
    config: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint below `folder`, make it the latest one, and drop the one before.

    The parts go into a folder of their own; `latest.json` is moved to it only when all are on
    disk, so a kill at any moment leaves the old or the new checkpoint, complete.

    Raises:
        UsageError: the folder cannot be written; the checkpoint before remains.
    """
    place = place_of(folder, checkpoint.step)
    write_weights(place / "model.safetensors", checkpoint.model)
    if checkpoint.average is not None:
        write_weights(place / "average.safetensors", checkpoint.average)
    with atomic_writer(place / "state.pt") as file:
        torch.save(dict(checkpoint.state), file)
    write_json(place / "config.json", dict(checkpoint.config))
    for name in ("state.pt", "config.json"):
        seal(place / name)
    write_json(folder / _LATEST, checked({"step": checkpoint.step, "folder": place.name}))
    for other in folder.glob("step-*"):
        if other.name != place.name:
            shutil.rmtree(other, ignore_errors=True)
    return place


def place_of(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies."""
    return folder / f"step-{step:07d}"


def save_patiently(folder: Path, checkpoint: Checkpoint, *, patience_seconds: float) -> Path:
    """`save_checkpoint`, tried again for a while where it fails: a full disk may be emptied.

    Raises:
        UsageError: it still fails when the patience is over; the checkpoint before remains.
    """
    end = time.monotonic() + patience_seconds
    while True:
        try:
            return save_checkpoint(folder, checkpoint)
        except UsageError as error:
            if time.monotonic() >= end:
                raise
            _LOG.warning("%s. Trying again: make room, or stop the run", error)
            time.sleep(_PAUSE_SECONDS)


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights as they are: safetensors, atomically, with their checksum beside them.

    Raises:
        UsageError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_sealed(path, save(tensors))


def export_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights for use: safetensors, floating-point numbers in half precision.

    Raises:
        UsageError: a weight is not finite in half precision, or the file cannot be written.
    """
    halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    bad = [name for name, value in halves.items() if not torch.isfinite(value).all()]
    if bad:
        message = f"weights that are not finite in half precision: {', '.join(bad[:5])}"
        raise UsageError(message)
    write_weights(path, halves)


def load_latest(folder: Path) -> Checkpoint | None:
    """The latest checkpoint below `folder`; None where there is none.

    Raises:
        DamagedCheckpoint: it is there but cannot be read; the message names the part.
    """
    pointer = folder / _LATEST
    if not pointer.exists():
        return None
    part = pointer
    try:
        latest = unchecked(load_json(pointer))
        place = folder / latest["folder"]
        for name in _PARTS:
            part = place / name
            if is_damaged(part):
                message = "it is not what was written"
                raise ValueError(message)
        part = place / "model.safetensors"
        model = load_file(part)
        part = place / "average.safetensors"
        average = load_file(part) if part.exists() else None
        part = place / "state.pt"
        state = torch.load(part, map_location="cpu", weights_only=True)
        part = place / "config.json"
        config = load_json(part)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.PickleError) as e:
        run_again_if_passing(e, part)
        message = (
            f"the checkpoint in {folder} cannot be read ({part}: {e}). Delete it to begin again"
        )
        raise DamagedCheckpoint(message) from e
    return Checkpoint(int(latest["step"]), model, average, state, config)
