"""A pool of training images on disk: made once from seeds, read as a memory map ever after.

A pool is a folder with the images and what is known of each of them.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..files import canonical_json, hash_value
from ..passing import run_again_if_passing
from ..progress import track
from ..sealed import is_whole, sealed_writer, write_sealed

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


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of an image; empty where nothing is."""

    text: str = ""
    label: str = ""
    modality: str = ""


@dataclass(frozen=True, slots=True)
class Painted:
    """An image of a pool.

    Attributes:
        pixels: uint8 (size, size, 3).
        told: what is known of it.
    """

    pixels: NDArray[np.uint8]
    told: Told


def _paint_texture(spec: PoolSpec, index: int) -> Painted:
    from .textures import texture

    return Painted(texture(np.random.default_rng([spec.seed, index]), spec.size), Told())


def _paint_medsynth(spec: PoolSpec, index: int) -> Painted:
    from ..datasets.medsynth import MODALITIES, generate

    which, modality = divmod(index, len(MODALITIES))
    sample = generate(MODALITIES[modality], which, seed=spec.seed, split="train", size=spec.size)
    return Painted(sample.image, Told(sample.caption, sample.label, sample.modality))


_PAINTERS: dict[str, Callable[[PoolSpec, int], Painted]] = {
    "textures": _paint_texture,
    "medsynth": _paint_medsynth,
}


def paint(spec: PoolSpec, index: int) -> Painted:
    """Image `index` of a pool, a pure function of its arguments."""
    return _PAINTERS[spec.source](spec, index)


@dataclass(frozen=True)
class Pool:
    """A painted pool. Sent to another process, it opens its files there."""

    spec: PoolSpec
    folder: Path

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """uint8 (count, size, size, 3), a read-only memory map.

        Raises:
            UsageError: the file is not such a pool.
        """
        path, spec = self.folder / _IMAGES, self.spec
        shape = (spec.count, spec.size, spec.size, 3)
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            run_again_if_passing(error, path)
            raise _damaged(path, error) from error
        if images.shape != shape or images.dtype != np.uint8:
            raise _damaged(path, f"{images.dtype} {images.shape}, not uint8 {shape}")
        return images.view(np.ndarray)  # still mapped, and much faster to index

    @cached_property
    def rows(self) -> list[Told]:
        """What is known of each image.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.folder / _ROWS
        try:
            rows = [Told(*row) for row in json.loads(path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            run_again_if_passing(error, path)
            raise _damaged(path, error) from error
        if len(rows) != self.spec.count:
            raise _damaged(path, f"{len(rows)} rows, not {self.spec.count}")
        return rows

    def __getstate__(self) -> dict[str, object]:
        # Without the opened files: pickle would send a memory map's whole content.
        return {"spec": self.spec, "folder": self.folder}


_IMAGES, _ROWS = "images.npy", "rows.json"


def _damaged(path: Path, reason: object) -> UsageError:
    return UsageError(f"{path} is not what was painted ({reason}). Delete {path.parent}.")


def open_pool(spec: PoolSpec, folder: Path, *, workers: int = 1) -> Pool:
    """The pool, painted first where it is not there yet.

    Args:
        spec: what the pool holds.
        folder: where pools are kept; a pool's name carries the hash of its content's rule.
        workers: processes that paint.

    Raises:
        UsageError: the folder cannot be written, or its files are not such a pool.
    """
    content = ["rows-1", asdict(spec), _version(spec)]
    name = f"{spec.source}-{spec.count}-{hash_value(content)[:8]}"
    pool = Pool(spec, folder / name)
    if not all(is_whole(pool.folder / name) for name in (_IMAGES, _ROWS)):
        _fill(pool, workers)
    _ = pool.images, pool.rows  # found damaged now rather than in the middle of a run
    return pool


def _version(spec: PoolSpec) -> int | None:
    """Of the generator that paints: another one paints another pool."""
    from ..datasets.medsynth import GENERATOR_VERSION

    return GENERATOR_VERSION if spec.source == "medsynth" else None


def _fill(pool: Pool, workers: int) -> None:
    spec = pool.spec
    _LOG.info("painting %s into %s", canonical_json(asdict(spec)), pool.folder)
    header = {
        "descr": "|u1",
        "fortran_order": False,
        "shape": (spec.count, spec.size, spec.size, 3),
    }
    rows = []
    with sealed_writer(pool.folder / _IMAGES) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for painted in track(_paint_all(spec, workers), total=spec.count, label="painting"):
            file.write(painted.pixels.tobytes())
            rows.append(astuple(painted.told))
        # Before the images get their name, which tells that all is there.
        write_sealed(pool.folder / _ROWS, canonical_json(rows).encode())


def _paint_all(spec: PoolSpec, workers: int) -> Iterator[Painted]:
    jobs = ((spec, index) for index in range(spec.count))
    if workers <= 1:
        yield from map(_paint_job, jobs)
        return
    # Spawned, because forking a process that runs torch's threads can hang.
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        yield from processes.imap(_paint_job, jobs, chunksize=8)


def _paint_job(job: tuple[PoolSpec, int]) -> Painted:
    return paint(*job)
