"""Several processes that train one model: who am I, which rows are mine, and sums over all of us.

Started by `torchrun`, each process takes an equal share of every batch; without it, all of this
is a single process and costs nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..errors import UsageError


def join(device: str = "cpu") -> None:
    """Join the processes that `torchrun` started, until this one exits; nothing without it."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        # Long, because the other processes wait while the first one paints image pools.
        backend = "gloo" if torch.device(device).type == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=timedelta(hours=2))
        # Else the threads of gloo may outlive the interpreter, which ends a good run by SIGABRT.
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """This process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_rows(total: int) -> slice:
    """Which of a batch's rows are this process's.

    Raises:
        UsageError: the batch cannot be shared evenly.
    """
    share, rest = divmod(total, world_size())
    if rest:
        message = f"a batch of {total} cannot be shared evenly by {world_size()} processes"
        raise UsageError(message)
    return slice(rank() * share, (rank() + 1) * share)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


@torch.no_grad()
def sum_over_processes(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each tensor by its sum over the processes, in place, in one message."""
    tensors = list(tensors)
    if world_size() == 1 or not tensors:
        return
    message = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(message)
    start = 0
    for tensor in tensors:
        tensor.copy_(message[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


@torch.no_grad()
def copy_from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each tensor by process 0's, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gather_rows(x: torch.Tensor) -> torch.Tensor:
    """(b, ...) of every process -> (B, ...) of all, in the batch's order, with gradient.

    The gradient of a row is the sum of what all processes ask of it.
    """
    return x if world_size() == 1 else _Gather.apply(x)  # pyright: ignore[reportReturnType]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.rows : (rank() + 1) * ctx.rows]
