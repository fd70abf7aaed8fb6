"""Saved pictures as a gallery: original, reconstruction and error map, checked and cut anew.

Pictures are decoded and written again, never copied: a file that is no picture, lies outside its
record's folder, or belongs to data whose licence keeps pixels local, does not reach the site.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...harness.record import SHEET_OF_SAMPLES, GalleryImage
from ...harness.record_files import Stored
from ...harness.vocabulary import METRICS
from .cells import number
from .names import page_name
from .render import Site

ERROR_SCALE = 64
"""Absolute error, in grey levels of 255, at which the colour bar ends: the same everywhere."""
_LARGEST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class Picture:
    """One entry of a gallery; paths are relative to the site's root."""

    id: str
    group: str
    why: str
    image: str
    """The reconstruction, or the picture itself where it is no pair."""
    original: str | None
    error: str | None
    mean_error: str
    """Mean absolute error in grey levels, of a pair."""
    scores: str
    """The image's own, `PSNR 23.10 · SSIM 0.6120`; empty where the record holds none."""
    width: int
    height: int


def gallery(site: Site, stored: Stored) -> tuple[list[Picture], list[str]]:
    """Write a record's pictures; returns them, and what was refused with the reason."""
    record = stored.record
    if record.dataset.pixels != "publish":
        return [], []
    shown: list[Picture] = []
    refused: list[str] = []
    for entry in record.gallery:
        try:
            pixels = _read(stored.path.parent, entry)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            refused.append(f"gallery {entry.file!r}: {error}")
            continue
        shown.append(
            _pair(site, entry, pixels) if _is_pair(entry, pixels) else _single(site, entry, pixels)
        )
    return shown, refused


def _read(folder: Path, entry: GalleryImage) -> np.ndarray:
    """uint8 (H, W, 3) of a gallery file."""
    path = folder / entry.file
    inside = path.resolve().is_relative_to(folder.resolve())
    if not inside or path.is_symlink() or not path.is_file():
        message = "no file of its record's folder"
        raise ValueError(message)
    with Image.open(path, formats=("PNG", "JPEG")) as image:
        if max(image.size) > _LARGEST_SIDE:
            message = f"{image.size[0]}x{image.size[1]} pixels; at most {_LARGEST_SIDE} a side"
            raise ValueError(message)
        return np.asarray(image.convert("RGB"))


def _is_pair(entry: GalleryImage, pixels: np.ndarray) -> bool:
    """Whether it is an original beside its reconstruction, and no sheet of samples."""
    chosen = entry.why == "pick" or entry.why.startswith("worst ")
    return chosen and pixels.shape[1] == 2 * pixels.shape[0]


def _pair(site: Site, entry: GalleryImage, pixels: np.ndarray) -> Picture:
    side = pixels.shape[0]
    original, back = pixels[:, :side], pixels[:, side:]
    error = np.abs(original.astype(np.int16) - back.astype(np.int16)).mean(axis=2)
    return Picture(
        id=entry.id,
        group=entry.group,
        why=entry.why,
        image=_save(site, back),
        original=_save(site, original),
        error=_save(site, error_map(error)),
        mean_error=f"{error.mean():.2f}",
        scores=_scores(entry),
        width=side,
        height=side,
    )


def _single(site: Site, entry: GalleryImage, pixels: np.ndarray) -> Picture:
    return Picture(
        id=entry.id,
        group=entry.group,
        why=entry.why,
        image=_save(site, pixels),
        original=None,
        error=None,
        mean_error="",
        scores=_scores(entry),
        width=pixels.shape[1],
        height=pixels.shape[0],
    )


def _scores(entry: GalleryImage) -> str:
    known = [(METRICS[name], value) for name, value in entry.scores.items() if name in METRICS]
    return " · ".join(f"{facts.title} {number(value, facts.digits)}" for facts, value in known)


def error_map(error: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) colours of a mean absolute error (H, W) in grey levels."""
    level = np.clip(error / ERROR_SCALE, 0, 1) * (len(_RAMP) - 1)
    return _RAMP[np.rint(level).astype(np.intp)]


def _ramp() -> np.ndarray:
    """256 colours of steadily rising lightness: black, violet, orange, pale yellow."""
    stops = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]])
    at = np.linspace(0, 1, len(stops))
    fine = np.linspace(0, 1, 256)
    return np.stack([np.interp(fine, at, stops[:, c]) for c in range(3)], axis=1).astype(np.uint8)


_RAMP = _ramp()


def colour_bar(site: Site) -> None:
    """Write the error maps' colour bar."""
    bar = np.broadcast_to(_RAMP[None], (12, 256, 3))
    site.write("images/error-scale.png", _png(bar))


def _save(site: Site, pixels: np.ndarray) -> str:
    """Write pixels under the hash of their content, so that equal pictures are one file."""
    pixels = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:20]
    path = f"images/{digest}.png"
    if not (site.root / path).exists():
        site.write(path, _png(pixels))
    return path


def _png(pixels: np.ndarray) -> bytes:
    grey = bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def side_by_side(
    galleries: Mapping[str, list[Picture]], *, most: int = 9
) -> list[tuple[Picture, dict[str, Picture]]]:
    """One picked image per group that several rows show: the first row's entry, and each row's."""
    found: dict[str, dict[str, Picture]] = {}
    first: dict[str, Picture] = {}
    for name, pictures in galleries.items():
        for picture in pictures:
            if picture.why == "pick" and picture.original:
                found.setdefault(picture.id, {})[name] = picture
                first.setdefault(picture.id, picture)
    chosen: dict[str, str] = {}
    for image_id in sorted(found, key=lambda i: (-len(found[i]), page_name(i))):
        chosen.setdefault(first[image_id].group, image_id)
    return [(first[i], found[i]) for _, i in sorted(chosen.items())][:most]


def sheets_by_class(galleries: Mapping[str, list[Picture]]) -> dict[str, dict[str, Picture]]:
    """Sheets of generated images by class, in the first row's order, and in it by row's name."""
    found: dict[str, dict[str, Picture]] = {}
    for name, pictures in galleries.items():
        for picture in pictures:
            if picture.why == SHEET_OF_SAMPLES:
                found.setdefault(picture.group, {})[name] = picture
    return found
