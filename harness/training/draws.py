"""Random draws of a step: each follows from its place in the run, not from earlier draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def batch_generator(seed: int, step: int, part: int) -> torch.Generator:
    """The random source of one batch: of its place alone.

    Args:
        seed: of the run.
        step: from 0.
        part: of the step, from 0; -1 is what follows the step, -2 what precedes it.
    """
    words = np.random.SeedSequence([seed, step, part + 2]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


@contextmanager
def own_draws(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let what torch's modules draw themselves (dropout, noise) follow from a generator's seed."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
        # Not torch.manual_seed, which also seeks devices that are not there, for 1 ms a call.
        torch.default_generator.manual_seed(generator.initial_seed())
        if on_gpu:
            torch.cuda.manual_seed(generator.initial_seed())
        yield
