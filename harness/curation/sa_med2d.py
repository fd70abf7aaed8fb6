"""SA-Med2D-20M's processing (arXiv 2311.11969): self-min-max, three axes, masks by component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.dicom_frame import Windowing, decode_frame
from ..datasets.images import Window, decode_file
from ..datasets.nifti_volume import AXES, volume
from ..errors import UsageError
from .dicom_series import header
from .names import flat
from .picture import Mask, Picture, grey_where_equal, read_values
from .thresholds import SaMed2dThresholds
from .unit import Unit
from .volumes import VOLUME_MODALITIES, cut, read_volume

_MODALITY_FIELD = {
    "ct": "ct_00",
    "dermoscopy": "dermoscopy_00",
    "endoscopy": "endoscopy_00",
    "fundus": "fundus_photography",
    "mri": "mr_00",
    "pathology": "pathology_00",
    "ultrasound": "ultrasound_00",
    "xray": "x_ray",
    "microscopy": "microscopy_00",
}
"""The first field of a file name; pathology and microscopy are not among the owners' own."""
_AXIS_FIELD: dict[str, str] = dict(zip(AXES, "xyz", strict=True))


def pictures(unit: Unit, thresholds: SaMed2dThresholds, *, masked: bool) -> Iterator[Picture]:
    """The unit's slices on three axes (or its one image) with their masks.

    Args:
        unit: what to read.
        thresholds: what decides.
        masked: whether an image without a mask is rejected.

    Raises:
        MissingPrerequisite: a decoder or nibabel is absent.
        UsageError: image or mask cannot be read, or they do not fit together.
    """
    if unit.kind == "image":
        found = _image(unit, thresholds)
    elif unit.kind == "dicom" and unit.modality not in VOLUME_MODALITIES:
        found = _frames(unit)
    else:
        found = _slices(unit, thresholds)
    for picture in found:
        yield _judged(picture, masked or bool(unit.masks), thresholds)


def _judged(picture: Picture, masked: bool, thresholds: SaMed2dThresholds) -> Picture:
    short, long = sorted(picture.pixels.shape[:2])
    reason = detail = None
    if short < thresholds.aspect.value * long:
        reason, detail = "aspect", f"{short}x{long}: below {thresholds.aspect.value:g}"
    elif short < thresholds.minimum_side.value:
        reason, detail = "minimum-side", f"{short} < {thresholds.minimum_side.value} pixels"
    elif masked and not picture.masks:
        reason, detail = "no-mask", f"{picture.masks_dropped} dropped as too small"
    return replace(picture, reason=reason, detail=detail)


def _image(unit: Unit, thresholds: SaMed2dThresholds) -> Iterator[Picture]:
    """An image of 8 bits stays as it is; a deeper one is stretched from its minimum to maximum."""
    path = Path(unit.files[0])
    values = read_values(path)
    if values.ndim == 2 and values.dtype.itemsize > 1:
        picture = Picture(_stretch(path, values).apply(values))
    else:
        picture = Picture(grey_where_equal(decode_file(path).rgb))
    labels = [_image_labels(Path(file)) for file in unit.masks]
    yield _with_masks(picture, labels, unit, thresholds)


def _frames(unit: Unit) -> Iterator[Picture]:
    path = Path(unit.files[0])
    for frame in range(header(path).frames):
        rgb = decode_frame(path, frame, Windowing()).rgb
        yield Picture(grey_where_equal(rgb), "frame", frame)


def _slices(unit: Unit, thresholds: SaMed2dThresholds) -> Iterator[Picture]:
    stack = read_volume(unit)
    window = _stretch(Path(unit.files[0]), stack.values)
    labels = [volume(Path(file)) for file in unit.masks]
    for file, mask in zip(unit.masks, labels, strict=True):
        if stack.plane is not None or mask.shape != stack.values.shape:
            message = f"{file}: mask of shape {mask.shape}, image of {stack.values.shape}"
            raise UsageError(message)
    for plane, index, values in stack.slices(0, thresholds.slice_step.value):
        picture = Picture(np.ascontiguousarray(window.apply(values)), plane, index)
        slices = [cut(mask, AXES.index(plane), index) for mask in labels]
        yield _with_masks(picture, slices, unit, thresholds)


def _stretch(path: Path, values: np.ndarray) -> Window:
    low, high = float(values.min()), float(values.max())
    if not low < high:
        message = f"{path}: all values are {low:g}; there is nothing to stretch"
        raise UsageError(message)
    return Window(low, high)


def _image_labels(path: Path) -> np.ndarray:
    """Classes of a mask image; colour or black-and-white means one class."""
    values = read_values(path)
    if values.ndim == 3:
        return (values[..., :3].max(axis=2) > 0).astype(np.int32)
    binary = np.isin(values, (0, 255)).all()
    return (values > 0).astype(np.int32) if binary else values.astype(np.int32)


def _with_masks(
    picture: Picture, labels: list[np.ndarray], unit: Unit, thresholds: SaMed2dThresholds
) -> Picture:
    """Split to one binary mask a component; overlapping annotations of a class become one."""
    size = picture.pixels.shape[:2]
    for file, one in zip(unit.masks, labels, strict=True):
        if one.shape != size:
            message = f"{file}: mask of {one.shape}, image of {size} (height, width)"
            raise UsageError(message)
        if (one < 0).any() or (one != np.rint(one)).any():
            message = f"{file}: classes must be whole numbers from 0; found {one.min():g}"
            raise UsageError(message)
    smallest = thresholds.mask_fraction.value * size[0] * size[1]
    masks, dropped = [], 0
    for value in sorted({int(v) for one in labels for v in np.unique(one)} - {0}):
        components = _components(np.logical_or.reduce([one == value for one in labels]))
        kept = [pixels for pixels in components if pixels.sum() >= smallest]
        dropped += len(components) - len(kept)
        masks.extend(Mask(value, number, pixels) for number, pixels in enumerate(kept))
    return replace(picture, masks=tuple(masks), masks_dropped=dropped)


def _components(binary: np.ndarray) -> list[np.ndarray]:
    from scipy import ndimage

    numbered = np.zeros(binary.shape, np.int32)
    count = int(ndimage.label(binary, structure=np.ones((3, 3)), output=numbered))  # pyright: ignore
    return [numbered == number for number in range(1, count + 1)]


def file_stem(unit: Unit, picture: Picture) -> str:
    """`ct_00--dataset--case--x_0040`, the owners' naming; `2d_none` for an image without axis."""
    case = unit.name
    for suffix in (".nii.gz", ".nii", ".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"):
        case = case.removesuffix(suffix)
    place = "2d_none"
    if picture.plane is not None:
        place = f"{_AXIS_FIELD.get(picture.plane, 'z')}_{picture.index:04d}"
    return f"{_MODALITY_FIELD[unit.modality]}--{flat(unit.source)}--{flat(case)}--{place}"
