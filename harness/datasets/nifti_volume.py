"""One NIfTI volume in canonical orientation (RAS+), and its slices as a viewer shows them."""

from __future__ import annotations

import gzip
import math
import struct
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from ..passing import run_again_if_passing

AXES = ("sagittal", "coronal", "axial")
"""By the array axis (x to the right, y to the front, z to the head) that a slice cuts."""

_MOST_INFLATION = 1032
"""Bytes that one byte of a deflate stream can stand for (zlib's technical details)."""

LARGEST_VOLUME_BYTES = 8 << 30
"""Unpacked, of all volumes of a file."""
_LARGEST_EXTENSIONS = 16 << 20
"""Bytes between header and voxels; a real file has some kilobytes there."""

_NIFTI_1_BYTES, _HEADER_BYTES = 348, 540
_SIZES_LITTLE = frozenset(struct.pack("<i", size) for size in (_NIFTI_1_BYTES, _HEADER_BYTES))

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
    if needed > LARGEST_VOLUME_BYTES:
        message = (
            f"{path}: its header says {image.shape} voxels of {voxels}, {needed:,} bytes; at most "
            f"{LARGEST_VOLUME_BYTES:,} are read. Cut the volume."
        )
        raise UsageError(message)
    try:
        axes = nibabel().io_orientation(image.affine)[:, 0]
    except (np.linalg.LinAlgError, ValueError):  # of an affine that is not finite
        axes = np.full(3, np.nan)
    if not np.isfinite(axes).all():
        message = f"{path}: its affine does not say the orientation: {image.affine.tolist()}"
        raise UsageError(message)
    x, y, z = (image.shape[list(axes).index(axis)] for axis in range(3))
    return x, y, z


def _open(path: Path) -> Any:
    library = nibabel()
    try:
        _check_head(path)
        image = library.load(path)
        if len(image.shape) not in (3, 4) or 0 in image.shape:
            message = f"{path}: shape {image.shape}; volumes of 3 or 4 dimensions are read"
            raise UsageError(message)
        return image
    except UsageError:
        raise
    except Exception as error:  # nibabel raises many kinds on damaged files
        run_again_if_passing(error, path)
        message = f"{path}: not a readable NIfTI file ({error})"
        raise UsageError(message) from error


def _check_head(path: Path) -> None:
    """Refuse what only bears the name, and extensions that are read before any shape is known."""
    if not path.name.lower().endswith((".nii", ".nii.gz")) or not path.is_file():
        message = "a file named .nii or .nii.gz is wanted"
        raise ValueError(message)
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
    order = "<" if head[:4] in _SIZES_LITTLE else ">"
    if struct.unpack(f"{order}i", head[:4])[0] == _NIFTI_1_BYTES:
        (begins,) = struct.unpack(f"{order}f", head[108:112])
    else:
        (begins,) = struct.unpack(f"{order}q", head[168:176])
    if not 0 <= begins <= _LARGEST_EXTENSIONS:
        message = f"its voxels begin at byte {begins:g}"
        raise ValueError(message)


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
