"""`dicom:PATH`: a DICOM file, or a folder of them; each frame is one image.

`dicom:PATH` shows CT in [-1000, 1000] HU, MR between two percentiles of the frame, and anything
else through the window in the file; `dicom@file:PATH` always takes the file's window, and
`dicom@LOW..HIGH:PATH` the given one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..passing import run_again_if_passing
from .card import Card
from .dataset import Item, pick_per_group
from .dicom_frame import CT_WINDOW, MR_PERCENTILES, Windowing, decode_frame, read_header
from .folder import find_path
from .images import Decoded, Window

SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
MODALITY_OF = {
    "CT": "ct",
    "MR": "mri",
    "US": "ultrasound",
    "IVUS": "ultrasound",
    "CR": "xray",
    "DX": "xray",
    "MG": "xray",
    "RG": "xray",
    "RF": "xray",
    "XA": "xray",
    "PX": "xray",
    "IO": "xray",
    "ES": "endoscopy",
    "OP": "fundus",
    "SM": "pathology",
    "DMS": "dermoscopy",
    "GM": "microscopy",
}
"""Modality (0008,0060) of the standard -> medbench's name."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str
    group: str
    frames: int
    patient: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class DicomDataset:
    """All frames of the files, in the order of their paths."""

    id: str
    card: Card
    files: tuple[_File, ...]
    windowing: Windowing
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """One item a frame: `a/b.dcm`, or `a/b.dcm#3` in a file of several frames."""
        items = [
            Item(
                id=file.name if file.frames == 1 else f"{file.name}#{frame}",
                group=file.group,
                load=partial(_load, file, frame, self.windowing),
                content_key=partial(_content_key, file, frame, self.windowing),
                patient=file.patient,
            )
            for file in self.files
            for frame in range(file.frames)
        ]
        return pick_per_group(items, limit)


def _load(file: _File, frame: int, windowing: Windowing) -> Decoded:
    if file.problem is not None:
        raise UsageError(file.problem)
    return decode_frame(file.path, frame, windowing)


def _content_key(file: _File, frame: int, windowing: Windowing) -> list[Any]:
    window = windowing.window
    shown = [window.low, window.high] if window else windowing.from_file
    defaults = [CT_WINDOW.low, CT_WINDOW.high, *MR_PERCENTILES]
    content = file.problem or file_sha256(file.path)
    return [content, frame, shown, defaults]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> DicomDataset:
    """Make the dataset of `dicom:PATH`.

    A file that cannot be used becomes one failing image, and the others stay.

    Raises:
        MissingPrerequisite: no such path.
        UsageError: a wrong window, no DICOM file, or none that can be used.
    """
    root = find_path(argument, data_root, what="dicom:PATH")
    windowing = _windowing(reference, variant)
    paths = dicom_files(root) if root.is_dir() else [root]
    files = [_describe(p, p.relative_to(root).as_posix() if p != root else p.name) for p in paths]
    groups = sorted({file.group for file in files if file.problem is None})
    if not groups:
        reason = files[0].problem if files else "no DICOM files"
        message = f"{reference}: nothing to read in {root}: {reason}"
        raise UsageError(message)
    identifier = f"dicom{'@' + variant if variant else ''}:{root.name}"
    card = Card.model_validate(
        {
            "id": identifier,
            "title": f"DICOM images in {root.name}",
            "source": "DICOM files on this machine",
            "licence": "unknown",
            "modalities": groups,
            "splits": {"all": sum(file.frames for file in files)},
            "layout": "verified (headers read)",
            "patient_key": "SHA-256 of PatientID" if any(f.patient for f in files) else None,
            "how_to_get": "the user's own files",
            "known_problems": [
                "MR is shown between percentiles of each frame, so contrast between frames is lost."
            ]
            if "mri" in groups and not variant
            else [],
        }
    )
    # A failing file counts to some group, since every item has one; it is never scored.
    placed = tuple(f if f.group else _with_group(f, groups[0]) for f in files)
    return DicomDataset(identifier, card, placed, windowing)


def _with_group(file: _File, group: str) -> _File:
    return _File(file.path, file.name, group, 1, None, file.problem)


def dicom_files(root: Path) -> list[Path]:
    """Files below `root` that are DICOM by suffix or by preamble, sorted; DICOMDIR is left out."""
    found = [
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.name.upper() != "DICOMDIR"
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and (path.suffix.lower() in SUFFIXES or _has_preamble(path))
    ]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _has_preamble(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError as error:
        run_again_if_passing(error, path)
        return False


def _describe(path: Path, name: str) -> _File:
    try:
        header = read_header(path)
        modality = str(header.get("Modality", ""))
        if modality not in MODALITY_OF:
            message = f"{path}: modality {modality!r} is none of {', '.join(MODALITY_OF)}"
            raise UsageError(message)
        frames = _frame_count(path, header)
        patient = pseudonym(header.get("PatientID"))
    except UsageError as error:
        return _File(path, name, "", 1, None, str(error))
    except Exception as error:  # pydicom converts a field when it is asked for
        run_again_if_passing(error, path)
        problem = f"{path}: a field is malformed ({error}). Mend the file."
        return _File(path, name, "", 1, None, problem)
    return _File(path, name, MODALITY_OF[modality], frames, patient)


def _frame_count(path: Path, header: Any) -> int:
    """What the header says, where the file can hold it: a frame takes a byte at least."""
    try:
        frames = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        message = f"{path}: NumberOfFrames is malformed ({error}). Mend the file."
        raise UsageError(message) from error
    if not 0 < frames <= path.stat().st_size:
        message = f"{path}: NumberOfFrames is {frames}, which this file cannot hold. Mend the file."
        raise UsageError(message)
    return frames


def pseudonym(patient_id: Any) -> str | None:
    """A stable name for a patient that does not print the identifier; None where it is empty.

    It keeps identifiers out of records; it is no protection against somebody who tries them all.
    """
    text = str(patient_id or "").strip()
    return hashlib.sha256(f"medbench patient {text}".encode()).hexdigest()[:16] if text else None


def _windowing(reference: str, variant: str) -> Windowing:
    if variant in {"", "file"}:
        return Windowing(from_file=variant == "file")
    low, separator, high = variant.partition("..")
    try:
        window = Window(float(low), float(high))
    except ValueError:
        window = Window(0, 0)
    if not separator or not -1e9 < window.low < window.high < 1e9:
        message = f"{reference}: {variant!r} is neither 'file' nor a window such as -160..240"
        raise UsageError(message)
    return Windowing(window)
