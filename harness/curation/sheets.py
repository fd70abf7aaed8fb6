"""Sheets for the check by eye: ten kept and ten rejected images per source and reason."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..files import write_bytes
from .names import flat
from .parts import SHEET_IMAGES, Thumbnail
from .picture import THUMBNAIL_PIXELS

_TITLE_PIXELS = 18
_CELL_PIXELS = THUMBNAIL_PIXELS + 4
_GROUND = (40, 40, 48)


def write_sheets(thumbnails: Sequence[Thumbnail], out: Path) -> None:
    """`sheets/<source>/<reason>.png`; a source without rejected images gets `kept.png`."""
    for source in sorted({one.source for one in thumbnails}):
        own = [one for one in thumbnails if one.source == source]
        kept = [one.png for one in own if one.reason is None]
        reasons = sorted({one.reason for one in own if one.reason is not None})
        for reason in reasons or ["kept"]:
            rejected = [one.png for one in own if one.reason == reason]
            strips = [(f"{source}: kept", kept)]
            if rejected:
                strips.append((f"{source}: rejected, {reason}", rejected))
            write_bytes(out / "sheets" / flat(source) / f"{reason}.png", _sheet(strips))


def _sheet(strips: Sequence[tuple[str, Sequence[bytes]]]) -> bytes:
    height = _TITLE_PIXELS + _CELL_PIXELS
    sheet = Image.new("RGB", (SHEET_IMAGES * _CELL_PIXELS, len(strips) * height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for row, (title, images) in enumerate(strips):
        shown = title if images else f"{title} (none)"
        draw.text((4, row * height + 3), shown, fill=(230, 230, 230))
        for column, data in enumerate(images):
            with Image.open(io.BytesIO(data)) as image:
                small = image.convert("RGB")
            left = column * _CELL_PIXELS + (_CELL_PIXELS - small.width) // 2
            top = row * height + _TITLE_PIXELS + (_CELL_PIXELS - small.height) // 2
            sheet.paste(small, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
