"""Pictures beside a record: originals with their reconstructions, where the card allows it.

Seeded picks are the same for every tokenizer; the worst images of a score show its failures.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...harness.files import write_bytes
from ...harness.record import GalleryImage
from .measure import reconstruct

if TYPE_CHECKING:
    from ...harness.task import Cell

PICKS_PER_GROUP = 2
WORST = 5
WORST_OF = ("psnr", "ms_ssim")


def choose(cell: Cell, scores: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Row number -> why it is shown: `pick`, or `worst <metric>`."""
    chosen: dict[int, str] = {}
    rows = cell.store.rows
    taken: dict[str, int] = {}
    for row in sorted(range(len(rows)), key=lambda i: hashlib.sha256(rows[i].id.encode()).digest()):
        group = rows[row].group
        if taken.get(group, 0) < PICKS_PER_GROUP:
            taken[group] = taken.get(group, 0) + 1
            chosen[row] = "pick"
    for name in WORST_OF:
        for row in np.argsort(scores[name], kind="stable")[:WORST]:
            chosen.setdefault(int(row), f"worst {name}")
    return chosen


def save(cell: Cell, scores: Mapping[str, np.ndarray]) -> list[GalleryImage]:
    """Write original|reconstruction PNGs into `cell.gallery`; nothing where pixels stay local."""
    if cell.card.pixels != "publish":
        return []
    shutil.rmtree(cell.gallery, ignore_errors=True)
    saved: list[GalleryImage] = []
    for row, why in sorted(choose(cell, scores).items()):
        facts = cell.store.rows[row]
        original = cell.store.read(row, row + 1)
        back = reconstruct(cell.tokenizer, original, batch=1, device=cell.device).images
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate([original[0], back[0]], axis=1)).save(buffer, "PNG")
        path = cell.gallery / f"{row:05d}.png"
        write_bytes(path, buffer.getvalue())
        saved.append(
            GalleryImage(
                id=facts.id, group=facts.group, file=f"{cell.gallery.name}/{path.name}", why=why
            )
        )
    return saved
