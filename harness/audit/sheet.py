"""The pairs side by side in one PNG, for a look."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..datasets.images import resize_square
from ..errors import MedbenchError
from ..files import write_bytes
from .job import Audit
from .sources import Entry

_SIDE = 160
_CAPTION = 28
_GAP = 8
_COLUMNS = 3
_MOST = 60
_GREY = np.full((_SIDE, _SIDE, 3), 128, np.uint8)


def write_sheet(audit: Audit, path: Path, *, show_private: bool = False) -> None:
    """Draw the first 60 pairs: the two images and their correlation.

    Private images are drawn as grey squares unless `show_private`.

    Raises:
        UsageError: the place cannot be written.
    """
    pairs = list(zip(audit.findings.pairs, audit.shown, strict=True))[:_MOST]
    rows = max(1, -(-len(pairs) // _COLUMNS))
    width, height = 2 * _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (width + _GAP), rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for position, (pair, entries) in enumerate(pairs):
        left = position % _COLUMNS * (width + _GAP)
        top = position // _COLUMNS * height
        for column, entry in enumerate(entries):
            pixels = _pixels(entry, show_private=show_private)
            sheet.paste(Image.fromarray(pixels), (left + column * _SIDE, top))
        value = "equal" if pair.correlation is None else f"{pair.correlation:.3f}"
        draw.text((left, top + _SIDE), f"{value}, {pair.relation}", fill="black")
        names = f"{pair.first.id} | {pair.second.id}"
        draw.text((left, top + _SIDE + _CAPTION // 2), names[:54], fill="black")
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_bytes(path, data.getvalue())


def _pixels(entry: Entry, *, show_private: bool) -> np.ndarray:
    if entry.place.private and not show_private:
        return _GREY
    try:
        return resize_square(entry.item.load().rgb, _SIDE)
    except MedbenchError:
        return _GREY  # gone since it was scanned
