"""`sa-med2d`, `sa-med2d:FOLDER`: SA-Med2D-20M (Ye et al., arXiv:2311.11969), images with masks.

`SAMed2D_v1.json` maps each image to its masks. Names are
`images/MODALITY_KIND--SET--CASE--AXIS_SLICE.png` and `masks/IMAGE STEM--CLASS_INSTANCE.png`.
No file of the owners was at hand; names that do not fit stay as failing items. CLASS is a number
whose meaning is not in the name, so organs, instruments and lesions cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..documents import parse_json
from ..errors import UsageError
from ..passing import run_again_if_passing
from .asked_images import find_set
from .card import Card, packaged_card
from .dataset import Item, pick_per_group
from .images import Decoded, decode_file
from .rows import UNKNOWN, hash_or_absence

LIST = "SAMed2D_v1.json"
PLACES = ("SAMed2Dv1", "sa-med2d")
"""Folders below the data root."""

_GROUP_OF = {
    "ct": "ct",
    "dermoscopy": "dermoscopy",
    "endoscopy": "endoscopy",
    "fundus": "fundus",
    "mr": "mri",
    "ultrasound": "ultrasound",
    "x": "xray",
}
"""By the first word of the name; `pet` has no class here and is left out."""


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """One image of the list."""

    folder: Path
    name: str
    masks: tuple[str, ...]
    group: str
    patient: str | None
    problem: str | None = None

    def item(self) -> Item:
        """The dataset's item; its mask is the union of all masks."""
        return Item(
            id=self.name,
            group=self.group,
            load=partial(_load, self),
            content_key=partial(_content_key, self),
            patient=self.patient,
            load_mask=partial(union_mask, self) if self.masks else None,
        )


@dataclass(frozen=True, slots=True)
class SaMed2d:
    """All images of the list but those of modalities without a class."""

    id: str
    card: Card
    images: tuple[MaskedImage, ...]
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Images in the list's order."""
        return pick_per_group([image.item() for image in self.images], limit)


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> SaMed2d:
    """Make the set.

    Raises:
        MissingPrerequisite: the list is not on this machine.
        UsageError: a variant, a list that is no JSON object, or one without a usable image.
    """
    if variant:
        message = f"{reference}: the owners made no splits; use sa-med2d or sa-med2d:FOLDER"
        raise UsageError(message)
    card = packaged_card("sa-med2d")
    folder = find_set(card, argument, data_root, places=PLACES, filename=LIST)
    listed = _read_list(folder / LIST)
    images = [_image(folder, name, masks) for name, masks in listed.items()]
    kept = [image for image in images if image is not None]
    bad = [image.problem for image in kept if image.problem is not None]
    if len(bad) == len(kept):
        message = f"{reference}: no image can be used: {'; '.join(bad[:3]) or 'the list is empty'}"
        raise UsageError(message)
    left_out = len(images) - len(kept)
    problems = [
        *([f"{left_out} PET images are left out"] if left_out else []),
        *([f"{len(bad)} rows cannot be used, first: {bad[0]}"] if bad else []),
        *card.known_problems,
    ]
    return SaMed2d(
        card.id,
        card.model_copy(update={"known_problems": problems, "splits": {"all": len(kept)}}),
        tuple(kept),
    )


def _read_list(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        run_again_if_passing(error, path)
        message = f"{path}: not readable JSON ({error}). Truncated or damaged: fetch it again."
        raise UsageError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: expected an object that maps images to masks"
        raise UsageError(message)
    return value


def _image(folder: Path, name: str, masks: Any) -> MaskedImage | None:
    """None for PET."""
    parts = PurePosixPath(name).stem.split("--")
    word = parts[0].partition("_")[0]
    if word == "pet":
        return None
    patient = "--".join(parts[1:3]) if len(parts) == 4 else None
    problem = None
    listed = masks if isinstance(masks, list) and all(isinstance(m, str) for m in masks) else None
    if listed is None:
        problem = f"masks are {masks!r}, expected a list of file names"
    elif any(_leaves(each) for each in (name, *listed)):
        problem = "a name leaves the folder; it is not read"
    elif patient is None or word not in _GROUP_OF:
        problem = "the name is not MODALITY_KIND--SET--CASE--AXIS_SLICE.png of a known modality"
    if problem is not None:
        where = f"{folder / LIST}: {name!r}: {problem}"
        return MaskedImage(folder, name, (), UNKNOWN, None, where)
    return MaskedImage(folder, name, tuple(listed or ()), _GROUP_OF[word], patient)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name


def _load(image: MaskedImage) -> Decoded:
    if image.problem is not None:
        raise UsageError(image.problem)
    return decode_file(image.folder / image.name)


def read_mask(image: MaskedImage, name: str) -> np.ndarray:
    """One mask of an image: bool (H, W).

    Raises:
        UsageError: it cannot be read; names the file.
    """
    return decode_file(image.folder / name).rgb.max(axis=2) > 0


def union_mask(image: MaskedImage) -> np.ndarray:
    """All masked structures of an image together, lesions or not: bool (H, W).

    Raises:
        UsageError: one cannot be read, or their sizes differ; names the file.
    """
    union = read_mask(image, image.masks[0])
    for name in image.masks[1:]:
        mask = read_mask(image, name)
        if mask.shape != union.shape:
            message = f"{image.folder / name}: {mask.shape}, but another mask has {union.shape}"
            raise UsageError(message)
        union |= mask
    return union


def _content_key(image: MaskedImage) -> list[str | None]:
    if image.problem is not None:
        return [image.problem]
    paths = [image.folder / name for name in (image.name, *image.masks)]
    return [hash_or_absence(path) for path in paths]
