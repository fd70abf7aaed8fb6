"""Pictures beside a record: samples of each class, and those nearest to training images.

Where the licence keeps pixels local, they lie in a folder of their own that no record names: sites
and submissions take what records name, and Git takes nothing of that folder.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...harness import ranks
from ...harness.files import write_bytes
from ...harness.record import SHEET_OF_SAMPLES, GalleryImage
from .reference import ReferenceClass, read_images
from .sample import Order, SampleSet

if TYPE_CHECKING:
    from pathlib import Path

    from ...harness.datasets.store import ImageStore
    from ...harness.task import Cell
    from .measure import NearestTraining

logger = logging.getLogger(__name__)

_COLUMNS = 8
SHOWN = 2 * _COLUMNS
"""Samples of each class on its sheet."""
_SIDE = 128
_NEAREST = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show: the first sampling seed, and real images."""

    samples: SampleSet
    order: Order
    reference: Sequence[ReferenceClass]
    stores: Mapping[str, ImageStore]
    training: ImageStore
    nearest: Mapping[str, NearestTraining]


def save(cell: Cell, shown: Shown) -> list[GalleryImage]:
    """Write the sheets; returns those that may be published, which lie in `cell.gallery`."""
    if ranks.own() != 0:
        return []
    local = cell.gallery.with_name(f"{cell.gallery.stem}.local.gallery")
    for old in (cell.gallery, local):
        shutil.rmtree(old, ignore_errors=True)
    if cell.card.pixels == "publish":
        return [*_sheets(shown, cell.gallery), *_nearest(shown, cell.gallery)]
    write_bytes(local / ".gitignore", b"*\n")
    _sheets(shown, local)
    _nearest(shown, local)
    logger.info("sheets of the samples, which the licence keeps on this machine: %s", local)
    return []


def _sheets(shown: Shown, folder: Path) -> list[GalleryImage]:
    saved = []
    for number, each in enumerate(shown.reference):
        samples = shown.samples.images.at(shown.order.places(number)[:SHOWN])
        rows = [samples[i : i + _COLUMNS] for i in range(0, len(samples), _COLUMNS)]
        if each.images:
            rows.insert(0, read_images(shown.stores, each.images[:_COLUMNS]))
        picture = np.concatenate([_row(images) for images in rows])
        stem, title = f"class-{number:02d}", f"class {each.name}"
        saved.append(_write(folder, picture, stem, title, each, SHEET_OF_SAMPLES))
    return saved


def _nearest(shown: Shown, folder: Path) -> list[GalleryImage]:
    """The samples that come nearest to a training image, each beside it."""
    found: list[tuple[float, int, int]] = []
    for number, each in enumerate(shown.reference):
        near = shown.nearest.get(each.name)
        if near is not None:
            found += [(float(r), number, k) for k, r in enumerate(near.ratios[0])]
    saved = []
    for rank, (ratio, number, k) in enumerate(sorted(found)[:_NEAREST]):
        each = shown.reference[number]
        place = int(shown.order.places(number)[k])
        sample = shown.samples.images.at(np.array([place]))[0]
        row = int(shown.nearest[each.name].rows[0][k])
        pair = np.concatenate([sample, shown.training.read(row, row + 1)[0]], axis=1)
        title = f"{each.name} sample {k} and {shown.training.rows[row].id}"
        why = f"nearest training image, ratio {ratio:.3f}"
        saved.append(_write(folder, pair, f"nearest-{rank:02d}", title, each, why))
    return saved


def _row(images: np.ndarray) -> np.ndarray:
    """Up to `_COLUMNS` images side by side, small; white where there are fewer."""
    row = np.full((_SIDE, _COLUMNS * _SIDE, 3), 255, dtype=np.uint8)
    for column, image in enumerate(images):
        small = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX)
        row[:, column * _SIDE : (column + 1) * _SIDE] = np.asarray(small)
    return row


def _write(
    folder: Path, picture: np.ndarray, stem: str, identifier: str, each: ReferenceClass, why: str
) -> GalleryImage:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    path = folder / f"{stem}.png"
    write_bytes(path, buffer.getvalue())
    return GalleryImage(id=identifier, group=each.name, file=f"{folder.name}/{path.name}", why=why)
