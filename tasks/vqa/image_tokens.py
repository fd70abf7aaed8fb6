"""A tokenizer's features of every image: computed once, then read as a memory map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...harness.array_cache import Kept, Wanted, kept_arrays, nearly_equal
from ...harness.errors import CellFailed, NotApplicable
from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.precision import cache_facts
from ...harness.reading import to_tensor
from ...harness.shards import SHARD_IMAGES
from .model import Scale

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.protocol import Tokenizer
    from ...harness.task import Cell

_VERSION = 2


def tokenizer_key(cell: Cell) -> str:
    """What makes another tokenizer: its name, weights, configuration and precision."""
    info, identity = cell.tokenizer.info, cell.identity
    weights = identity.weights_sha256 if identity else info.weights_sha256
    config = identity.config_sha256 if identity else None
    precision = cache_facts(identity).values()
    return hash_value([info.full_name, weights, config, info.parameters, *precision])


def image_tokens(cell: Cell, store: ImageStore, *, side: int) -> Kept:
    """Features of all images of a store, float16 (N, L, D), memory-mapped, with their hash.

    Args:
        cell: its tokenizer, device and batch size.
        store: the images.
        side: tokens are averaged to side x side; 0 leaves all L of them.

    Raises:
        NotApplicable: the tokenizer has no features.
        CellFailed: features that are not finite in half precision.
        UsageError: the cache cannot be written.
    """
    info = cell.tokenizer.info
    if reason := info.cannot.get("features"):
        message = f"{info.full_name} gives a language model nothing to read: {reason}"
        raise NotApplicable(message)
    facts = {
        "version": _VERSION,
        "tokenizer": tokenizer_key(cell),
        "device": cell.device.split(":")[0],
        "images": store.fingerprint,
        "side": side,
    }
    wanted = Wanted(
        place=cache_root() / "image-tokens",
        what=f"image tokens of {info.full_name}",
        facts={"tokens": facts},
        count=len(store),
        compute=lambda start, stop, _: {"tokens": _tokens(cell, store.read(start, stop), side)},
        alike=nearly_equal,
    )
    return kept_arrays(wanted)["tokens"]


def _tokens(cell: Cell, images: np.ndarray, side: int) -> np.ndarray:
    return cell.batch.attempt(
        lambda size: np.concatenate(
            [
                _features(cell.tokenizer, images[start : start + size], cell.device, side)
                for start in range(0, len(images), size)
            ]
        )
    )


@torch.inference_mode()
def _features(tokenizer: Tokenizer, images: np.ndarray, device: str, side: int) -> np.ndarray:
    found = averaged(tokenizer.features(to_tensor(images, device)).float(), side).half()
    if not torch.isfinite(found).all():
        message = (
            f"{tokenizer.info.full_name}: features are not finite in half precision. Look for NaN "
            "in the weights."
        )
        raise CellFailed(message)
    return found.cpu().numpy()


def averaged(tokens: Tensor, side: int) -> Tensor:
    """(B, L, D) -> (B, side * side, D), averaged over the raster; fewer tokens are left alone."""
    count = tokens.shape[1]
    if side == 0 or count <= side * side:
        return tokens
    grid = round(count**0.5)
    channels = tokens.transpose(1, 2)
    if grid * grid == count:
        square = channels.unflatten(2, (grid, grid))
        return F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
    return F.adaptive_avg_pool1d(channels, side * side).transpose(1, 2)


def scale_of(tokens: np.ndarray) -> Scale:
    """Mean and deviation of each dimension over training images; constant ones are left alone."""
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(tokens), SHARD_IMAGES):
        block = (
            tokens[start : start + SHARD_IMAGES].astype(np.float64).reshape(-1, tokens.shape[-1])
        )
        count += len(block)
        total, squares = total + block.sum(axis=0), squares + (block**2).sum(axis=0)
    mean = np.asarray(total) / count
    deviation = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0.0))
    deviation[deviation < 1e-6] = 1.0
    return Scale(torch.from_numpy(mean).float(), torch.from_numpy(deviation).float())
