"""Copies of training images, through the tokenizer: what a generator that repeats them would draw.

A tokenizer loses something of each image, so that even an exact copy of its codes lies at some
distance from it. That distance is the yardstick of the check for memorisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.shards import run_shards
from ..recon.features import extract
from .reference import TRAIN
from .tokens import decode_codes, encode_images

if TYPE_CHECKING:
    from ...harness.metrics.extractors.protocol import Extractor
    from ...harness.task import Cell
    from .tokenizer_key import TokenizerKey


def copied_features(
    cell: Cell, key: TokenizerKey, rows: np.ndarray, extractor: Extractor
) -> np.ndarray:
    """Features of the reconstructions of training images, float32 (n, d), in resumable shards.

    Args:
        cell: whose training part it is.
        key: of its tokenizer.
        rows: int64 (n,), of the training part.
        extractor: of the features.
    """
    store = cell.parts[TRAIN].store

    def shard(start: int, stop: int) -> dict[str, np.ndarray]:
        images = np.concatenate([store.read(row, row + 1) for row in rows[start:stop].tolist()])
        back = decode_codes(cell, encode_images(cell, key, images))
        return {"features": extract(extractor, back)}

    label = "copies of training images"
    shards = list(run_shards(cell.work / "copies", len(rows), shard, label=label))
    return np.concatenate([each["features"] for each in shards])
