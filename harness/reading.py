"""Images on their way to the device: the next shard is read while this one is computed.

On CUDA only. Reading and checking a shard of 64 images takes some hundredths of a second, and a CPU
computes on it for many seconds: there a second thread would only take turns with the first one.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import ranks
from .shards import SHARD_IMAGES

if TYPE_CHECKING:
    from .datasets.store import ImageStore


class ReadAhead:
    """Reads ranges of a store; on CUDA the shard that this rank needs next is read meanwhile.

    Args:
        store: the images.
        device: where they are going to.
    """

    def __init__(self, store: ImageStore, device: str) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1) if device.startswith("cuda") else None
        self._ahead: tuple[tuple[int, int], Future[np.ndarray]] | None = None

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """`ImageStore.read`."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == (start, stop):
            images = ahead[1].result()
        else:
            images = self._store.read(start, stop)
        begin = start + SHARD_IMAGES * ranks.count()
        if self._thread is not None and begin < len(self._store):
            shard = (begin, min(begin + SHARD_IMAGES, len(self._store)))
            self._ahead = shard, self._thread.submit(self._store.read, *shard)
        return images


def to_tensor(images: np.ndarray, device: str) -> torch.Tensor:
    """uint8 (n, H, H, 3) -> float32 (n, 3, H, H) in [0, 1]; to CUDA through pinned memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    if device.startswith("cuda"):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).float().div_(255.0)
