"""DICOM files as stacks of slices: which files form a volume, and the volume in RAS+ order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.dicom_frame import read_file, read_header, rescale, stored_pixels
from ..datasets.nifti_volume import AXES
from ..errors import UsageError

_SAME_PLACE_MM = 1e-3


@dataclass(frozen=True, slots=True)
class Header:
    """What is needed of one file before its pixels are read."""

    path: Path
    modality: str
    frames: int
    patient_id: str
    series: tuple[str, ...]
    """Files with the same key may be slices of one volume."""
    position_mm: float | None
    """Along the normal of the slice; None where the file does not say."""


def header(path: Path) -> Header:
    """Read one file's header.

    Raises:
        UsageError: not a DICOM file.
    """
    data = read_header(path)
    try:
        frames = int(data.get("NumberOfFrames") or 1)
        orientation = _numbers(data.get("ImageOrientationPatient"), 6)
        position = _numbers(data.get("ImagePositionPatient"), 3)
    except ValueError as error:
        message = f"{path}: not a readable DICOM file ({error})"
        raise UsageError(message) from error
    along = None
    if orientation is not None and position is not None:
        along = float(position @ np.cross(orientation[:3], orientation[3:]))
    key = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns")
    rounded = "" if orientation is None else str(np.round(orientation, 3).tolist())
    return Header(
        path=path,
        modality=str(data.get("Modality", "")),
        frames=frames,
        patient_id=str(data.get("PatientID") or ""),
        series=(*(str(data.get(name, "")) for name in key), rounded),
        position_mm=along,
    )


def _numbers(value: Any, count: int) -> np.ndarray | None:
    if value is None or len(value) != count:
        return None
    return np.array([float(v) for v in value])


def group_series(headers: Sequence[Header]) -> list[list[Header]]:
    """Volumes in the order of their first file; slices by position.

    Files of one series whose positions are unknown or repeat (copies, several phases, other
    images under the same number) are no volume: each stays alone.
    """
    groups: dict[tuple[str, ...], list[Header]] = {}
    for one in headers:
        alone = one.frames > 1 or one.position_mm is None or not one.series[2]
        groups.setdefault((str(one.path),) if alone else one.series, []).append(one)
    found: list[list[Header]] = []
    for members in groups.values():
        ordered = sorted(members, key=lambda h: h.position_mm or 0.0)
        positions = np.array([h.position_mm or 0.0 for h in ordered])
        if len(ordered) > 1 and np.diff(positions).min() < _SAME_PLACE_MM:
            found.extend([one] for one in members)
        else:
            found.append(ordered)
    return sorted(found, key=lambda group: min(str(h.path) for h in group))


def read_stack(files: Sequence[Path]) -> tuple[np.ndarray, str | None]:
    """Values in the modality's unit (Hounsfield units for CT), and the plane of the slices.

    Several files give float32 (x, y, z) in RAS+ and None; one file gives (frame, row, column) and
    the name of its plane, `frame` where the file does not say.

    Raises:
        MissingPrerequisite: no decoder for the transfer syntax.
        UsageError: damaged, without pixels, in colour, or with values that are not finite.
    """
    if len(files) == 1:
        data = read_file(files[0])
        frames = range(int(data.get("NumberOfFrames") or 1))
        values = np.stack([_values(files[0], data, frame) for frame in frames])
        orientation = _numbers(data.get("ImageOrientationPatient"), 6)
        return values, "frame" if orientation is None else AXES[_normal_axis(orientation)]
    slices, orientation = [], None
    for path in files:
        data = read_file(path)
        slices.append(_values(path, data, 0))
        orientation = _numbers(data.get("ImageOrientationPatient"), 6)
    assert orientation is not None  # group_series puts only such files together
    return _to_ras(np.stack(slices), orientation), None


def _values(path: Path, data: Any, frame: int) -> np.ndarray:
    pixels = stored_pixels(path, data, frame)
    if pixels.ndim != 2:
        message = f"{path}: colour pixels in a {data.get('Modality')} image"
        raise UsageError(message)
    values = rescale(pixels, data, frame).astype(np.float32)
    if not np.isfinite(values).all():
        message = f"{path}: values that are not finite; slope or intercept is wrong"
        raise UsageError(message)
    if str(data.get("PhotometricInterpretation")) == "MONOCHROME1":
        values = values.max() + values.min() - values
    return values


def _normal_axis(orientation: np.ndarray) -> int:
    return int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())


def _to_ras(stack: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """(slice, row, column) -> (x, y, z), each axis turned to the nearest of the patient's."""
    across, down = orientation[:3], orientation[3:]
    to_ras = np.array([-1.0, -1.0, 1.0])  # DICOM counts to the patient's left and back
    directions = np.stack([np.cross(across, down), down, across]) * to_ras
    order = max(
        permutations(range(3)),
        key=lambda axes: sum(abs(directions[axes[i], i]) for i in range(3)),
    )
    values = stack.transpose(order)
    turned = tuple(i for i in range(3) if directions[order[i], i] < 0)
    return np.flip(values, turned) if turned else values
