"""The codes of a data set, computed once per tokenizer and kept as a memory-mapped array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...harness.array_cache import Wanted, kept_arrays, mostly_equal
from ...harness.errors import CellFailed, MetricError
from ...harness.files import sha256_bytes
from ...harness.locations import cache_root
from ...harness.precision import cache_facts
from .tokenizer_key import TokenizerKey

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.task import Cell

_VERSION = 3


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Codes of images of a store, and what computing them took.

    Attributes:
        indices: unsigned integers (N, K, L), memory-mapped, in the order of the rows.
        encode_seconds: spent now; 0 where they were there.
    """

    indices: np.ndarray
    encode_seconds: float


def tokens_of(
    cell: Cell, key: TokenizerKey, store: ImageStore, rows: np.ndarray, *, label: str
) -> Tokens:
    """The codes of some rows of a store, from the cache or made in resumable shards.

    Raises:
        CellFailed: the tokenizer gave codes of another shape or range than it declares.
        UsageError: the cache cannot be written.
    """
    dtype = np.min_scalar_type(key.codebook_size - 1)

    def compute(start: int, stop: int, _: Sequence[str]) -> dict[str, np.ndarray]:
        images = [store.read(row, row + 1) for row in rows[start:stop].tolist()]
        return {"indices": encode_images(cell, key, np.concatenate(images)).astype(dtype)}

    facts = {
        "version": _VERSION,
        "tokenizer": key.terms(),
        "device": cell.device.split(":")[0],
        "images": [store.fingerprint, sha256_bytes(rows.data)],
        **cache_facts(cell.identity),
    }
    wanted = Wanted(
        place=cache_root() / "tokens",
        what=f"codes of {label}",
        facts={"indices": facts},
        count=len(rows),
        compute=compute,
        alike=mostly_equal,
    )
    found = kept_arrays(wanted)["indices"]
    return Tokens(found.rows, found.seconds if found.fresh else 0.0)


def encode_images(cell: Cell, key: TokenizerKey, images: np.ndarray) -> np.ndarray:
    """uint8 (n, H, H, 3) -> codes, int64 (n, K, L).

    Raises:
        CellFailed: the tokenizer gave codes of another shape or range than it declares.
    """
    indices = cell.batch.attempt(lambda size: _encode_batches(cell, images, size))
    shape = (len(images), key.codebooks, key.positions)
    if indices.shape != shape or indices.min() < 0 or indices.max() >= key.codebook_size:
        message = (
            f"{cell.tokenizer.info.full_name} gave codes {indices.shape} in {indices.min()}.."
            f"{indices.max()}; it declares {shape} in 0..{key.codebook_size - 1}"
        )
        raise CellFailed(message)
    return indices


@torch.inference_mode()
def _encode_batches(cell: Cell, images: np.ndarray, size: int) -> np.ndarray:
    found = []
    for start in range(0, len(images), size):
        batch = torch.from_numpy(images[start : start + size]).permute(0, 3, 1, 2).contiguous()
        encoding = cell.tokenizer.encode(batch.to(cell.device).float().div_(255.0))
        if encoding.indices is None:
            message = f"{cell.tokenizer.info.full_name} is discrete, but encode gave no codes"
            raise CellFailed(message)
        found.append(encoding.indices.cpu().numpy())
    return np.concatenate(found)


@torch.inference_mode()
def decode_codes(cell: Cell, codes: np.ndarray) -> np.ndarray:
    """Codes (n, K, L) -> uint8 (n, H, H, 3): clamped once, times 255, rounded half to even.

    Raises:
        MetricError: the decoder gave another shape, or values that are not finite.
    """
    return cell.batch.attempt(lambda size: _decode_batches(cell, codes, size))


def _decode_batches(cell: Cell, codes: np.ndarray, size: int) -> np.ndarray:
    from ...harness.protocol import Encoding

    found = []
    for start in range(0, len(codes), size):
        indices = torch.from_numpy(codes[start : start + size].astype(np.int64))
        images = cell.tokenizer.decode(Encoding(indices=indices.to(cell.device)))
        side = cell.plan.resolution
        whole = images.shape == (len(indices), 3, side, side)
        if not whole or not torch.isfinite(images).all():
            message = (
                f"{cell.tokenizer.info.full_name}: decoding generated codes gave "
                f"{tuple(images.shape)} with values that are not finite, or of another shape than "
                f"{(len(indices), 3, side, side)}"
            )
            raise MetricError(message)
        scaled = images.clamp(0, 1).mul(255.0).round_().to(torch.uint8)
        found.append(scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return np.concatenate(found)
