"""3-D to 2-D: a unit's volume, and the slices that are taken of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.nifti_volume import AXES, slice_of, volume
from .dicom_series import read_stack
from .unit import Unit

VOLUME_MODALITIES = frozenset({"ct", "mri"})
"""DICOM of other modalities is a picture or a film, which the DICOM reader shows."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A volume: float (x, y, z) in RAS+, cut on three planes, or (frame, row, column)."""

    values: np.ndarray
    plane: str | None
    """Of the frames; None where the volume is cut on three planes."""

    def slices(self, first: int, step: int) -> Iterator[tuple[str, int, np.ndarray]]:
        """(plane, index, values) of every `step`-th slice, in radiological view."""
        if self.plane is not None:
            for index in sampled(len(self.values), first, step):
                yield self.plane, index, self.values[index]
            return
        for axis, plane in enumerate(AXES):
            for index in sampled(self.values.shape[axis], first, step):
                yield plane, index, cut(self.values, axis, index)


def cut(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """One slice of a volume (x, y, z) in radiological view.

    Only the slice is handed on: taking it from a volume that is not C-contiguous would copy all.
    """
    place = [slice(None)] * 3
    place[axis] = slice(index, index + 1)
    return slice_of(values[tuple(place)], axis, 0)


def sampled(count: int, first: int, step: int) -> range:
    """Every `step`-th of `count` indices from `first`; at least one."""
    return range(min(first, count - 1), count, step)


def read_volume(unit: Unit) -> Stack:
    """The unit's NIfTI volume, DICOM series or DICOM file.

    Raises:
        MissingPrerequisite: nibabel or a decoder is absent.
        UsageError: damaged, or with values that are not finite.
    """
    if unit.kind == "nifti":
        return Stack(volume(Path(unit.files[0])), None)
    return Stack(*read_stack([Path(file) for file in unit.files]))
