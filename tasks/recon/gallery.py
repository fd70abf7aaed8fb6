"""Pictures beside a record: originals, reconstructions and error maps, where the card allows it.

Seeded picks are the same for every tokenizer, some of every group; the worst five images of a score
show its failures. CT is shown as it was measured: in its window. For image number 12 there are

    00012.png        original and reconstruction side by side
    00012.error.png  mean absolute error over RGB, black to white; white is 64 grey levels or more

and the record holds the scores of each. The scale of the error maps is the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...harness import ranks
from ...harness.files import write_bytes
from ...harness.record import GalleryImage
from .measure import reconstruct

if TYPE_CHECKING:
    from ...harness.task import Cell

PICKS_PER_GROUP = 2
WORST = 5
LOWEST_IS_WORST = {"psnr": True, "ssim": True, "ms_ssim": True, "lpips": False}
ERROR_SCALE = 64
"""Mean absolute error, in grey levels, that is white."""


def choose(cell: Cell, scores: Mapping[str, np.ndarray]) -> dict[int, list[str]]:
    """Row number -> why it is shown: `pick`, `worst <metric>`, or several of them."""
    chosen: dict[int, list[str]] = {}
    rows = cell.store.rows
    taken: dict[str, int] = {}
    for row in sorted(range(len(rows)), key=lambda i: hashlib.sha256(rows[i].id.encode()).digest()):
        group = rows[row].group
        if taken.get(group, 0) < PICKS_PER_GROUP:
            taken[group] = taken.get(group, 0) + 1
            chosen[row] = ["pick"]
    for name, lowest in LOWEST_IS_WORST.items():
        if name in scores:
            order = np.argsort(scores[name] if lowest else -scores[name], kind="stable")
            for row in order[:WORST]:
                chosen.setdefault(int(row), []).append(f"worst {name}")
    return chosen


def save(cell: Cell, scores: Mapping[str, np.ndarray]) -> list[GalleryImage]:
    """Write the pictures into `cell.gallery`; nothing where pixels stay local."""
    if cell.card.pixels != "publish" or ranks.own() != 0:
        return []
    shutil.rmtree(cell.gallery, ignore_errors=True)
    saved: list[GalleryImage] = []
    folder = cell.gallery.name
    for row, why in sorted(choose(cell, scores).items()):
        facts = cell.store.rows[row]
        original = cell.store.read(row, row + 1)
        back = reconstruct(cell.tokenizer, original, batch=1, device=cell.device).images
        path = cell.gallery / f"{row:05d}.png"
        error = path.with_suffix(".error.png")
        _write(path, np.concatenate([original[0], back[0]], axis=1))
        _write(error, error_map(original[0], back[0]))
        saved.append(
            GalleryImage(
                id=facts.id,
                group=facts.group,
                file=f"{folder}/{path.name}",
                why=why[0],
                also=why[1:],
                error=f"{folder}/{error.name}",
                scores={
                    n: round(float(v[row]), 6) for n, v in scores.items() if not np.isnan(v[row])
                },
            )
        )
    return saved


def error_map(original: np.ndarray, back: np.ndarray) -> np.ndarray:
    """uint8 (H, W): the mean absolute error over RGB, `ERROR_SCALE` grey levels as white."""
    error = np.abs(original.astype(np.int16) - back.astype(np.int16)).mean(axis=2)
    return np.rint(np.clip(error / ERROR_SCALE, 0.0, 1.0) * 255.0).astype(np.uint8)


def _write(path: Path, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
