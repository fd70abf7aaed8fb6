"""Codes from logits, by numbers that belong to each image alone.

Each image has a stream of uniform numbers of its own, and a code is where its number falls among
the cumulated probabilities: nothing here depends on the other images of the batch. There are
thousands of borders for the number to fall beside, so an image is the same again only where its
logits are the same to the bit: `Sampling.rows` sees to that.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

from ....harness.errors import UsageError
from .sampling import Sampling

_BLOCK = 128
"""Codes whose probabilities are summed first: the place is found among sums, then in one block."""


def image_numbers(seed: int, images: Sequence[int], count: int) -> Tensor:
    """Uniform numbers in [0, 1) of each image: float64 (B, count), from Philox's raw words.

    Raises:
        UsageError: the seed or an image's number is no whole number of 64 bits.
    """
    high = _word(seed, "seed") << 64
    keys = [high | _word(image, "image number") for image in images]
    rows = [np.random.Philox(key=key).random_raw(count) for key in keys]
    return torch.from_numpy((np.stack(rows) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _word(number: SupportsIndex, what: str) -> int:
    """The number, if it is half of a key: a larger one would run over into the other half."""
    try:
        found = operator.index(number)
    except TypeError as error:
        message = f"the {what} must be a whole number, got {number!r}"
        raise UsageError(message) from error
    if not 0 <= found < 1 << 64:
        message = f"the {what} must be in 0 to 2**64 - 1, got {found}"
        raise UsageError(message)
    return found


def choose(logits: Tensor, numbers: Tensor, sampling: Sampling) -> Tensor:
    """Codes from logits.

    Args:
        logits: float (B, V), guidance applied.
        numbers: float64 (B,), one uniform number per image.
        sampling: how.

    Returns:
        int64 (B,).
    """
    if sampling.greedy:
        return logits.argmax(dim=-1)
    logits = logits.float()
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    # `exp` itself is slow where codes are left out: up to four times, on CPUs.
    return _inverse(torch.softmax(restricted(logits, sampling), dim=-1), numbers)


def restricted(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (B, V) with all that top-k and top-p leave out at minus infinity.

    The most likely code always stays; of equal ones at the limit of top-k all stay.
    """
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        shares = torch.softmax(ordered, dim=-1)
        over = shares.cumsum(-1) - shares > sampling.top_p
        logits = logits.masked_fill(torch.zeros_like(over).scatter(-1, order, over), -torch.inf)
    return logits


def _inverse(shares: Tensor, numbers: Tensor) -> Tensor:
    """Where each number falls among the cumulated shares (B, V), in the order of codes.

    Shares need not sum to one: a number is of what they sum to.
    """
    if shares.shape[-1] % _BLOCK:
        shares = torch.nn.functional.pad(shares, (0, -shares.shape[-1] % _BLOCK))
    blocks = shares.unflatten(-1, (-1, _BLOCK))
    sums = blocks.sum(-1).double().cumsum(-1)
    wanted = numbers.to(sums.device)[:, None] * sums[:, -1:]
    block = _first_above(sums, wanted)
    before = torch.where(block > 0, sums.gather(-1, (block - 1).clamp_min(0)), 0.0)
    inside = blocks.gather(1, block[..., None].expand(-1, 1, _BLOCK))[:, 0].double().cumsum(-1)
    # The block summed in another order may end a hair below what is still wanted.
    largest = torch.nextafter(inside[:, -1:], torch.zeros_like(wanted))
    return (block * _BLOCK + _first_above(inside, torch.minimum(wanted - before, largest)))[:, 0]


def _first_above(cumulated: Tensor, wanted: Tensor) -> Tensor:
    """Index of the first entry above `wanted`, int64 (B, 1): never one without a share."""
    found = torch.searchsorted(cumulated, wanted, right=True)
    return found.clamp_max(cumulated.shape[-1] - 1)
