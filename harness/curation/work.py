"""The unit of work: a pure function from one unit and the settings to its candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import MissingPrerequisite, UsageError
from ..files import sha256_bytes
from ..passing import run_again_if_passing
from . import meditok, sa_med2d
from .image_filters import Rejection
from .names import safe
from .picture import CT_BIAS, Picture, png, thumbnail
from .text_filters import reject_text
from .unit import Candidate, Row, Settings, Unit


def candidates(unit: Unit, settings: Settings) -> Iterator[Candidate]:
    """Everything that the unit holds, kept or rejected with the first reason.

    A file that cannot be read gives one candidate with the reason `unreadable`.

    Raises:
        RunAgain: the machine failed while a file was read.
    """
    text = reject_text(unit, settings)
    if unit.problem is not None:
        yield Candidate(_row(unit, None, Rejection("unreadable", unit.problem)))
        return
    rules = settings.thresholds
    try:
        if settings.rules == "sa-med2d":
            found = sa_med2d.pictures(unit, rules.sa_med2d, masked=settings.masked)
        else:
            found = meditok.pictures(unit, rules.meditok)
        for picture in found:
            yield _candidate(unit, picture, text, settings)
    except (UsageError, MissingPrerequisite, OSError, ValueError, MemoryError) as error:
        run_again_if_passing(error, unit.name)
        yield Candidate(_row(unit, None, Rejection("unreadable", _without_paths(unit, error))))


def _without_paths(unit: Unit, error: Exception) -> str:
    """The message with file names in place of this machine's paths."""
    text = str(error)
    for file in (*unit.files, *unit.masks):
        text = text.replace(file, Path(file).name)
    return text


def _candidate(
    unit: Unit, picture: Picture, text: Rejection | None, settings: Settings
) -> Candidate:
    rejection = text
    if rejection is None and picture.reason is not None:
        rejection = Rejection(picture.reason, picture.detail or "")
    row = _row(unit, picture, rejection)
    small = thumbnail(picture.shown())
    if rejection is not None:
        return Candidate(row, {}, small)
    if settings.rules == "sa-med2d":
        return _sa_med2d(unit, picture, row, small)
    path = f"images/{unit.modality}/{safe(unit.source)}/{safe(unit.name + _place(picture))}.png"
    data = png(picture.pixels)
    return Candidate(replace(row, path=path, sha256=sha256_bytes(data)), {path: data}, small)


def _sa_med2d(unit: Unit, picture: Picture, row: Row, small: bytes) -> Candidate:
    stem = sa_med2d.file_stem(unit, picture)
    path, data = f"images/{stem}.png", png(picture.pixels)
    files = {path: data}
    for mask in picture.masks:
        name = f"masks/{stem}--{mask.label:04d}_{mask.instance:03d}.png"
        files[name] = png(mask.pixels.astype(np.uint8) * 255)
    masks = tuple(name for name in files if name != path)
    return Candidate(replace(row, path=path, sha256=sha256_bytes(data), masks=masks), files, small)


def _place(picture: Picture) -> str:
    return "" if picture.plane is None else f".{picture.plane}-{picture.index:04d}"


def _row(unit: Unit, picture: Picture | None, rejection: Rejection | None) -> Row:
    place = "" if picture is None or picture.plane is None else f"#{picture.plane}/{picture.index}"
    height, width = (None, None) if picture is None else picture.pixels.shape[:2]
    deep = picture is not None and picture.window is not None
    return Row(
        id=f"{unit.source}/{unit.name}{place}",
        source=unit.source,
        source_file=unit.name,
        volume=None if unit.kind == "image" else f"{unit.source}/{unit.name}",
        plane=picture.plane if picture else None,
        slice=picture.index if picture else None,
        patient=unit.patient,
        modality=unit.modality or None,
        label=unit.label,
        caption=unit.caption,
        kept=rejection is None,
        reason=rejection.reason if rejection else None,
        detail=rejection.detail if rejection else None,
        width=width,
        height=height,
        window_low=picture.window.low if picture and picture.window else None,
        window_high=picture.window.high if picture and picture.window else None,
        bias=float(CT_BIAS) if deep else None,
        masks_dropped=picture.masks_dropped if picture else 0,
    )
