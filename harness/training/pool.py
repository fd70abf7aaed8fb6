"""A pool of training images on disk: made once from seeds, read as a memory map ever after."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..files import atomic_writer, canonical_json, hash_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool holds: everything that its content depends on.

    Attributes:
        source: `medsynth` (its training split, the modalities in turn) or `textures`.
        count: number of images.
        seed: first key of every image's own random generator.
        size: side in pixels.
    """

    source: str
    count: int
    seed: int = 0
    size: int = 256

    def __post_init__(self) -> None:
        if self.source not in _PAINTERS:
            message = f"unknown image source {self.source!r}; known: {', '.join(_PAINTERS)}"
            raise UsageError(message)
        if self.count < 1 or self.size < 16:
            message = f"a pool of {self.count} images of side {self.size} is not possible"
            raise UsageError(message)


def _paint_texture(spec: PoolSpec, index: int) -> NDArray[np.uint8]:
    from .textures import texture

    return texture(np.random.default_rng([spec.seed, index]), spec.size)


def _paint_medsynth(spec: PoolSpec, index: int) -> NDArray[np.uint8]:
    from ..datasets.medsynth import MODALITIES, generate

    which, modality = divmod(index, len(MODALITIES))
    sample = generate(MODALITIES[modality], which, seed=spec.seed, split="train", size=spec.size)
    return sample.image


_PAINTERS: dict[str, Callable[[PoolSpec, int], NDArray[np.uint8]]] = {
    "textures": _paint_texture,
    "medsynth": _paint_medsynth,
}


def paint(spec: PoolSpec, index: int) -> NDArray[np.uint8]:
    """Image `index` of a pool: uint8 (size, size, 3), a pure function of its arguments."""
    return _PAINTERS[spec.source](spec, index)


def _version(spec: PoolSpec) -> int | None:
    """Of the generator that paints: another one paints another pool."""
    from ..datasets.medsynth import GENERATOR_VERSION

    return GENERATOR_VERSION if spec.source == "medsynth" else None


def _paint_job(job: tuple[PoolSpec, int]) -> NDArray[np.uint8]:
    return paint(*job)


def open_pool(spec: PoolSpec, folder: Path, *, workers: int = 1) -> NDArray[np.uint8]:
    """The pool as a read-only memory map, painted first where it is not there yet.

    Args:
        spec: what the pool holds.
        folder: where pools are kept; the file's name carries the hash of its content's rule.
        workers: processes that paint.

    Returns:
        uint8 (count, size, size, 3).

    Raises:
        UsageError: the folder cannot be written, or the file is not such a pool.
    """
    content = [asdict(spec), _version(spec)]
    path = folder / f"{spec.source}-{spec.count}-{hash_value(content)[:8]}.npy"
    shape = (spec.count, spec.size, spec.size, 3)
    if not path.exists():
        _fill(spec, path, workers)
    pool = np.load(path, mmap_mode="r", allow_pickle=False)
    if pool.shape != shape or pool.dtype != np.uint8:
        message = f"{path} holds {pool.dtype} {pool.shape}, not uint8 {shape}. Delete it."
        raise UsageError(message)
    return pool


def _fill(spec: PoolSpec, path: Path, workers: int) -> None:
    _LOG.info("painting %s into %s", canonical_json(asdict(spec)), path)
    header = {
        "descr": "|u1",
        "fortran_order": False,
        "shape": (spec.count, spec.size, spec.size, 3),
    }
    jobs = ((spec, index) for index in range(spec.count))
    # Spawned, because forking a process that runs torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with atomic_writer(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        if workers <= 1:
            for job in jobs:
                file.write(_paint_job(job).tobytes())
            return
        with context.Pool(workers) as processes:
            for image in processes.imap(_paint_job, jobs, chunksize=8):
                file.write(image.tobytes())
