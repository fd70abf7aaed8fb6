"""One NIfTI volume in canonical orientation (RAS+), and its slices as a viewer shows them."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256

AXES = ("sagittal", "coronal", "axial")
"""By the array axis (x to the right, y to the front, z to the head) that a slice cuts."""

_MOST_INFLATION = 1032
"""Bytes that one byte of a deflate stream can stand for (zlib's technical details)."""

_lock = threading.Lock()


def nibabel() -> Any:
    """The optional library.

    Raises:
        MissingPrerequisite: it is not installed.
    """
    try:
        import nibabel as module
    except ImportError as error:
        message = "NIfTI files need nibabel: pip install 'medbench[volumes]'"
        raise MissingPrerequisite(message) from error
    return module


def canonical_shape(path: Path) -> tuple[int, int, int]:
    """Voxels along x, y and z, from the header alone.

    Raises:
        UsageError: not a NIfTI file, not of three or four dimensions, not of real numbers, no
            orientation, or more voxels than the file can hold.
    """
    image = _open(path)
    voxels = np.dtype(image.get_data_dtype())
    if voxels.kind not in "iuf":
        message = f"{path}: voxels of type {voxels}; real numbers are read"
        raise UsageError(message)
    needed = math.prod(map(int, image.shape)) * voxels.itemsize
    held = path.stat().st_size * (_MOST_INFLATION if path.name.lower().endswith(".gz") else 1)
    if needed > held:
        message = (
            f"{path}: its header says {image.shape} voxels of {voxels}, {needed:,} bytes; a file "
            f"of {path.stat().st_size:,} bytes cannot hold them. Truncated or damaged."
        )
        raise UsageError(message)
    axes = nibabel().io_orientation(image.affine)[:, 0]
    if not np.isfinite(axes).all():
        message = f"{path}: its affine does not say the orientation: {image.affine.tolist()}"
        raise UsageError(message)
    x, y, z = (image.shape[list(axes).index(axis)] for axis in range(3))
    return x, y, z


def _open(path: Path) -> Any:
    library = nibabel()
    try:
        image = library.load(path)
        if len(image.shape) not in (3, 4) or 0 in image.shape:
            message = f"{path}: shape {image.shape}; volumes of 3 or 4 dimensions are read"
            raise UsageError(message)
        return image
    except UsageError:
        raise
    except Exception as error:  # nibabel raises many kinds on damaged files
        message = f"{path}: not a readable NIfTI file ({error})"
        raise UsageError(message) from error


def volume(path: Path) -> np.ndarray:
    """float32 (x, y, z), scaled by slope and intercept; of a 4-D series the first volume.

    Raises:
        UsageError: truncated, not numbers, or with values that are not finite.
    """
    with _lock:  # slices of one volume are asked for from several threads
        return _volume(path, file_sha256(path))


@lru_cache(maxsize=1)
def _volume(path: Path, sha256: str) -> np.ndarray:
    del sha256  # part of the key
    image = _open(path)
    try:
        image = nibabel().as_closest_canonical(image)
        data = image.dataobj[..., 0] if len(image.shape) == 4 else image.dataobj
        values = np.asarray(data, dtype=np.float32)
    except Exception as error:
        message = f"{path}: its voxels cannot be read ({error}). Truncated or damaged."
        raise UsageError(message) from error
    wrong = int(np.size(values) - np.isfinite(values).sum())
    if wrong:
        message = f"{path}: {wrong} of {values.size} voxels are NaN or infinite. Mend the file."
        raise UsageError(message)
    return values


def slice_shape(shape: tuple[int, int, int], axis: int) -> tuple[int, int]:
    """Height and width of the slices across `axis`."""
    return (shape[1], shape[0]) if axis == 2 else (shape[2], shape[1 - axis])


def slice_of(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A slice in radiological view: head or front on top, the patient's right on the left."""
    # `np.take` would copy the whole of a volume that is stored column by column.
    return np.moveaxis(values, axis, 0)[index][::-1, ::-1].T
