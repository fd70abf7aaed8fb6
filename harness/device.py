"""Which device, and arithmetic that repeats."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from .device_name import check_device_name
from .errors import MissingPrerequisite, UsageError


def choose_device(requested: str | None) -> str:
    """The requested device, or the best one here (CUDA, then CPU).

    Under `torchrun`, `cuda` and the best one are each process's own GPU of its machine, as far as
    there are enough of them.

    Raises:
        UsageError: not a device name, or one GPU for several processes.
        MissingPrerequisite: it is not on this machine.
    """
    if requested is None or requested == "auto":
        return _own_gpu() if torch.cuda.is_available() else "cpu"
    check_device_name(requested)
    device = torch.device(requested)
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present[device.type]:
        message = f"--device {requested}: this machine has none. Use --device cpu."
        raise MissingPrerequisite(message)
    if device.type != "cuda":
        return str(device)
    if device.index is None:
        return _own_gpu()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > 1:
        message = (
            f"--device {requested} would put all {processes} processes of this machine on one GPU. "
            "Use --device cuda: each process then takes its own."
        )
        raise UsageError(message)
    return str(device)


def _own_gpu() -> str:
    number = os.environ.get("LOCAL_RANK")
    return "cuda" if number is None else f"cuda:{int(number) % torch.cuda.device_count()}"


_REPEATABLE = (
    (torch.backends.cuda.matmul, "allow_tf32", False),
    (torch.backends.cudnn, "allow_tf32", False),
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn, "benchmark", False),
)


@contextlib.contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """Float32 without TF32 and without algorithm search, restored afterwards."""
    before = [getattr(place, name) for place, name, _ in _REPEATABLE]
    for place, name, value in _REPEATABLE:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(_REPEATABLE, before, strict=True):
            setattr(place, name, value)
