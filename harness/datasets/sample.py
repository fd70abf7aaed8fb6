"""`sample`: the few real medical images that installed dependencies already carry.

Crops without overlap, at native size, so that a first look needs no download. Far too small for
conclusions; its card says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingPrerequisite, UsageError
from .card import Card, packaged_card
from .dataset import Item, pick_per_group
from .images import Decoded, Window, grey_to_rgb

CT_WINDOW = Window(-1000, 1000)
"""Hounsfield units; the training and evaluation default of MedITok's repository."""


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    group: str
    patient: str
    tile: int | None
    """Side of the crops; None takes the whole image."""
    read: Callable[[], np.ndarray]
    package: str


@dataclass(frozen=True, slots=True)
class SampleDataset:
    """The embedded sample."""

    id: str
    card: Card
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Crops in reading order, source by source."""
        items = [
            Item(
                id=f"{source.name}/{row}-{column}",
                group=source.group,
                load=partial(_crop, source, row, column),
                content_key=partial(_content_key, source, row, column),
                patient=source.patient,
            )
            for source in _SOURCES
            for row, column in _grid(source)
        ]
        return pick_per_group(items, limit)


def _content_key(source: _Source, row: int, column: int) -> list[Any]:
    return [source.name, source.tile, row, column, source.package, version(source.package)]


@cache
def _pixels(source: _Source) -> np.ndarray:
    return source.read()


def _grid(source: _Source) -> list[tuple[int, int]]:
    if source.tile is None:
        return [(0, 0)]
    height, width = _pixels(source).shape[:2]
    return [(r, c) for r in range(height // source.tile) for c in range(width // source.tile)]


def _crop(source: _Source, row: int, column: int) -> Decoded:
    pixels = _pixels(source)
    if source.tile is not None:
        top, left = row * source.tile, column * source.tile
        pixels = pixels[top : top + source.tile, left : left + source.tile]
    return Decoded(pixels if pixels.ndim == 3 else grey_to_rgb(pixels))


def _skimage(name: str) -> np.ndarray:
    from skimage import data

    return np.asarray(getattr(data, name)())


def _dicom(name: str, window: Window | None) -> np.ndarray:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    if path is None:
        message = f"pydicom does not carry {name} here. Reinstall it: pip install pydicom"
        raise MissingPrerequisite(message)
    data = dcmread(str(path))
    values = data.pixel_array.astype(np.float64)
    values = values * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    if window is None:
        centre, width = float(data.WindowCenter), float(data.WindowWidth)
        window = Window(centre - width / 2, centre + width / 2)
    return window.apply(values)


_SOURCES = (
    _Source("retina", "fundus", "retina", 470, partial(_skimage, "retina"), "scikit-image"),
    _Source(
        "microaneurysms",
        "fundus",
        "microaneurysms",
        None,
        partial(_skimage, "microaneurysms"),
        "scikit-image",
    ),
    _Source(
        "ihc", "pathology", "ihc", 256, partial(_skimage, "immunohistochemistry"), "scikit-image"
    ),
    _Source("cell", "microscopy", "cell", 256, partial(_skimage, "cell"), "scikit-image"),
    _Source(
        "ct_small", "ct", "ct_small", None, partial(_dicom, "CT_small.dcm", CT_WINDOW), "pydicom"
    ),
    _Source("mr_small", "mri", "mr_small", None, partial(_dicom, "MR_small.dcm", None), "pydicom"),
)


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> SampleDataset:
    """Make `sample`."""
    del data_root
    if argument or variant:
        message = f"{reference}: sample is embedded and takes neither path nor split"
        raise UsageError(message)
    return SampleDataset(id="sample", card=packaged_card("sample"))
