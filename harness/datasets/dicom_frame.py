"""One frame of a DICOM file as RGB uint8.

Stored values are rescaled (PS3.3 C.11.1), windowed (C.11.2) and, for MONOCHROME1, inverted.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MedbenchError, MissingPrerequisite, UsageError
from ..passing import run_again_if_passing
from .images import MINIMUM_SIDE, Decoded, Window, grey_to_rgb

CT_WINDOW = Window(-1000, 1000)
"""Hounsfield units."""
MR_PERCENTILES = (0.5, 99.5)
"""Of one frame's values; MR intensities have no unit, so a fixed window would mean nothing."""
LARGEST_FRAME_BYTES = 1 << 30
"""Unpacked."""
LARGEST_DEFLATED_BYTES = 1 << 30
"""Of a data set in the deflated transfer syntax, which pydicom unpacks as a whole."""
_GROUP_LENGTH_ENDS = 144
"""Of a file: the preamble, `DICM`, and the element that says how long the rest of its group is."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Windowing:
    """Which intensities are shown: a given window, the file's own, or the rule per modality."""

    window: Window | None = None
    from_file: bool = False


def read_header(path: Path) -> Any:
    """The data set without its pixels.

    Raises:
        UsageError: not a DICOM file.
    """
    return read_file(path, stop_before_pixels=True)


def read_file(path: Path, *, stop_before_pixels: bool = False) -> Any:
    """The data set, whose pixels are not yet decoded.

    Raises:
        UsageError: not a DICOM file.
    """
    from pydicom import dcmread

    try:
        _check_deflated(path)
        return dcmread(path, stop_before_pixels=stop_before_pixels)
    except Exception as error:  # pydicom raises many kinds on damaged files
        run_again_if_passing(error, path)
        message = f"{path}: not a readable DICOM file ({error})"
        raise UsageError(message) from error


def _check_deflated(path: Path) -> None:
    """Refuse a deflated data set without measure, before it is unpacked at one go."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if not path.is_file():
        message = "no such file"
        raise OSError(message)
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = 0
    with path.open("rb") as file:
        file.seek(_GROUP_LENGTH_ENDS + int(meta.FileMetaInformationGroupLength))
        while not inflate.eof and (block := inflate.unconsumed_tail or file.read(_BLOCK)):
            unpacked += len(inflate.decompress(block, _BLOCK))
            if unpacked > LARGEST_DEFLATED_BYTES:
                message = f"it unpacks to more than {LARGEST_DEFLATED_BYTES:,} bytes"
                raise ValueError(message)


def decode_frame(path: Path, frame: int, windowing: Windowing) -> Decoded:
    """Read frame `frame` (from 0).

    Raises:
        MissingPrerequisite: no decoder for the file's transfer syntax is installed.
        UsageError: no pixels, damaged pixels, a field that is absent or malformed, values that
            are not finite, or nothing says which intensities to show.
    """
    data = read_file(path)
    pixels = stored_pixels(path, data, frame)
    try:
        return _shown(path, data, frame, pixels, windowing)
    except MedbenchError:
        raise
    except Exception as error:
        # pydicom converts a field when it is asked for, each with its own kind of error.
        message = f"{path}: frame {frame}: a field is absent or malformed ({error}). Mend the file."
        raise UsageError(message) from error


def _shown(path: Path, data: Any, frame: int, pixels: np.ndarray, windowing: Windowing) -> Decoded:
    if min(pixels.shape[:2]) < MINIMUM_SIDE:
        message = f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels; needs {MINIMUM_SIDE} a side"
        raise UsageError(message)
    photometric = str(data.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(pixels, data)
        deep = colours.dtype.itemsize > 1
        return Decoded((colours >> 8 if deep else colours).astype(np.uint8), ("palette resolved",))
    if pixels.ndim == 3:
        if pixels.dtype != np.uint8:
            message = f"{path}: colour of {pixels.dtype}; 8 bits per channel are read"
            raise UsageError(message)
        return Decoded(pixels)
    values = rescale(pixels, data, frame)
    if not np.isfinite(values).all():
        message = (
            f"{path}: frame {frame} has values that are not finite; slope or intercept is wrong"
        )
        raise UsageError(message)
    shown = _window(path, data, frame, values, windowing)
    grey = shown.apply(values)
    notes = [f"window [{shown.low:g}, {shown.high:g}]"]
    if photometric == "MONOCHROME1":
        grey = 255 - grey
        notes.append("MONOCHROME1 inverted")
    return Decoded(grey_to_rgb(grey), tuple(notes), intensities=values.astype(np.float32))


def stored_pixels(path: Path, data: Any, frame: int) -> np.ndarray:
    """One frame as it is stored, decompressed: (H, W), or (H, W, 3) in colour.

    Raises:
        MissingPrerequisite: no decoder for the file's transfer syntax is installed.
        UsageError: no pixels, or damaged ones.
    """
    from pydicom.pixels.utils import pixel_array

    if "PixelData" not in data:
        message = f"{path}: a DICOM file without pixels"
        raise UsageError(message)
    try:
        _check_frame(data)
        return pixel_array(data, index=frame)
    except RuntimeError as error:
        if "missing dependencies" not in str(error):
            message = f"{path}: frame {frame} cannot be decoded ({error})"
            raise UsageError(message) from error
        message = (
            f"{path}: no decoder for {data.file_meta.TransferSyntaxUID.name} is installed: "
            "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg"
        )
        raise MissingPrerequisite(message) from error
    except Exception as error:
        message = f"{path}: frame {frame} cannot be decoded ({error}). Truncated or damaged."
        raise UsageError(message) from error


def _check_frame(data: Any) -> None:
    """Refuse a frame whose header claims more than a frame has; decoders allocate what it says."""
    sides = int(data.Rows), int(data.Columns), int(data.get("SamplesPerPixel") or 1)
    claimed = math.prod(sides) * max(1, int(data.BitsAllocated) // 8)
    if claimed > LARGEST_FRAME_BYTES:
        message = f"its header claims {claimed:,} bytes a frame; at most {LARGEST_FRAME_BYTES:,}"
        raise ValueError(message)


def rescale(pixels: np.ndarray, data: Any, frame: int) -> np.ndarray:
    """Stored values -> float64 in the modality's unit (Hounsfield units for CT)."""
    source = _functional(data, frame, "PixelValueTransformationSequence")
    slope, intercept = source.get("RescaleSlope", 1), source.get("RescaleIntercept", 0)
    return pixels.astype(np.float64) * float(slope) + float(intercept)


def _functional(data: Any, frame: int, sequence: str) -> Any:
    """The frame's own macro, the shared one, or the data set itself (PS3.3 C.7.6.16)."""
    places = []
    if frame < len(data.get("PerFrameFunctionalGroupsSequence") or ()):
        places.append(data.PerFrameFunctionalGroupsSequence[frame])
    places.extend(data.get("SharedFunctionalGroupsSequence") or ())
    return next((place[sequence][0] for place in places if place.get(sequence)), data)


def _window(path: Path, data: Any, frame: int, values: np.ndarray, windowing: Windowing) -> Window:
    if windowing.window is not None:
        return windowing.window
    modality = str(data.get("Modality", ""))
    if not windowing.from_file and modality == "CT":
        return CT_WINDOW
    if not windowing.from_file and modality == "MR":
        low, high = (float(v) for v in np.percentile(values, MR_PERCENTILES))
        if low == high:
            message = f"{path}: frame {frame} is constant ({low:g}); there is nothing to show"
            raise UsageError(message)
        return Window(low, high)
    declared = _declared(path, _functional(data, frame, "FrameVOILUTSequence"))
    if declared is not None:
        return declared
    if not windowing.from_file and int(data.BitsStored) == 8:
        return Window(0, 255)
    message = (
        f"{path}: {data.BitsStored} bits and no window in the file, and nothing says which "
        "intensities to show. Give them: dicom@LOW..HIGH:PATH"
    )
    raise UsageError(message)


def _declared(path: Path, source: Any) -> Window | None:
    """The first window of the file, by the standard's LINEAR or LINEAR_EXACT function."""
    centres, widths = source.get("WindowCenter"), source.get("WindowWidth")
    if centres in (None, "") or widths in (None, ""):
        return None
    centre, width = (float(np.ravel(v)[0]) for v in (centres, widths))
    function = str(source.get("VOILUTFunction", "LINEAR"))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        message = f"{path}: VOI LUT function {function}; give a window: dicom@LOW..HIGH:PATH"
        raise UsageError(message)
    if width <= 0:
        message = f"{path}: its window is empty; give one: dicom@LOW..HIGH:PATH"
        raise UsageError(message)
    return Window(centre - width / 2, centre + width / 2)
