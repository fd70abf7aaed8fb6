"""MedITok's way from volumes to slices, and its image filters (arXiv 2505.19225, appendix A.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.dicom_frame import CT_WINDOW, Windowing, decode_frame
from ..datasets.images import Window, decode_file
from ..errors import UsageError
from .dicom_series import header
from .image_filters import reject_image, reject_side
from .picture import Picture, grey_where_equal, read_values
from .thresholds import MeditokThresholds
from .unit import Unit
from .volumes import VOLUME_MODALITIES, read_volume, sampled


def pictures(unit: Unit, thresholds: MeditokThresholds) -> Iterator[Picture]:
    """The unit's slices (or its one image), each with the reason that rejects it or none.

    Raises:
        MissingPrerequisite: a decoder or nibabel is absent.
        UsageError: the file cannot be read; nothing of it is used.
    """
    if unit.kind == "image":
        found = _image(unit, thresholds)
    elif unit.kind == "dicom" and unit.modality not in VOLUME_MODALITIES:
        found = _frames(unit, thresholds)
    else:
        found = _volume(unit, thresholds)
    for picture in found:
        rejection = reject_side(picture.pixels, thresholds)
        if rejection is None and picture.reason is None:
            rejection = reject_image(picture.shown(), thresholds)
        if rejection is not None:
            picture = replace(picture, reason=rejection.reason, detail=rejection.detail)
        yield picture


def _image(unit: Unit, thresholds: MeditokThresholds) -> Iterator[Picture]:
    path = Path(unit.files[0])
    if unit.modality == "ct" and unit.window is not None and unit.window.bias:
        values = read_values(path).astype(np.float32) - unit.window.bias
        if values.ndim != 2:
            message = f"{path}: Hounsfield units with a bias must be one channel of 16 bits"
            raise UsageError(message)
        yield _ct(values, thresholds)
        return
    yield Picture(grey_where_equal(decode_file(path, window=unit.window).rgb))


def _frames(unit: Unit, thresholds: MeditokThresholds) -> Iterator[Picture]:
    """Neighbouring frames of a film are as alike as neighbouring slices: the same step."""
    path = Path(unit.files[0])
    frames = header(path).frames
    step = thresholds.slice_step.value if frames > 1 else 1
    for frame in sampled(frames, thresholds.first_slice.value if frames > 1 else 0, step):
        decoded = decode_frame(path, frame, Windowing())
        place = ("frame", frame) if frames > 1 else (None, None)
        yield Picture(grey_where_equal(decoded.rgb), *place)


def _volume(unit: Unit, thresholds: MeditokThresholds) -> Iterator[Picture]:
    stack = read_volume(unit)
    first, step = thresholds.first_slice.value, thresholds.slice_step.value
    if unit.modality == "ct":
        hounsfield = float(stack.values.min()) < 0
        for plane, index, values in stack.slices(first, step):
            picture = replace(_ct(values, thresholds), plane=plane, index=index)
            if not hounsfield:
                detail = "no value of the volume is below 0 (air is -1000)"
                picture = replace(picture, reason="ct-not-hounsfield", detail=detail)
            yield picture
        return
    percentiles = (thresholds.mr_low_percentile.value, thresholds.mr_high_percentile.value)
    low, high = (float(v) for v in np.percentile(stack.values, percentiles))
    for plane, index, values in stack.slices(first, step):
        yield replace(_clipped(values, low, high, unit, thresholds), plane=plane, index=index)


def _ct(values: np.ndarray, thresholds: MeditokThresholds) -> Picture:
    """Hounsfield units as int16, with the acceptance rule: enough of the slice is tissue."""
    tissue = float((values > thresholds.ct_tissue_hu.value).mean())
    stored = np.rint(values).clip(thresholds.ct_low_hu.value, thresholds.ct_high_hu.value)
    picture = Picture(np.ascontiguousarray(stored.astype(np.int16)), window=CT_WINDOW)
    if tissue >= thresholds.ct_tissue_fraction.value:
        return picture
    detail = f"tissue {tissue:.3f} < {thresholds.ct_tissue_fraction.value:g}"
    return replace(picture, reason="ct-little-tissue", detail=detail)


def _clipped(
    values: np.ndarray, low: float, high: float, unit: Unit, thresholds: MeditokThresholds
) -> Picture:
    """8 bits between the percentiles of the volume; MR must show enough signal."""
    if low >= high:
        flat = np.zeros(values.shape, np.uint8)
        return Picture(flat, reason="volume-constant", detail=f"nearly all values are {low:g}")
    picture = Picture(np.ascontiguousarray(Window(low, high).apply(values)))
    if unit.modality != "mri":
        return picture
    level = low + thresholds.mr_signal_level.value * (high - low)
    signal = float((values > level).mean())
    if signal >= thresholds.mr_signal_fraction.value:
        return picture
    detail = f"signal {signal:.3f} < {thresholds.mr_signal_fraction.value:g}"
    return replace(picture, reason="mr-little-signal", detail=detail)
