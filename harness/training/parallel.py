"""Several processes that train one model: who am I, and averages over all of us.

Started by `torchrun`, each process takes its share of every step's batches; without it, all of
this is a single process and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist


def join() -> None:
    """Join the processes that `torchrun` started; nothing to do without it."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        # Long, because the other processes wait while the first one paints image pools.
        dist.init_process_group("gloo", timeout=timedelta(hours=2))


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


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
