"""`nifti@ct:PATH`, `nifti@mri,all:PATH`: slices of a NIfTI volume, or of a folder of them.

The format does not say the modality, so it must be given. Optional, after commas: the plane
(axial unless said otherwise, or all) and a window LOW..HIGH. Without a window, CT is shown in
[-1000, 1000] HU and anything else between two percentiles of the volume. Of a 4-D series the
first volume is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..vocabulary import MODALITIES
from .card import Card
from .dataset import Item, pick_per_group
from .folder import check_modalities, find_path
from .images import MINIMUM_SIDE, Decoded, Window, grey_to_rgb
from .nifti_volume import AXES, canonical_shape, nibabel, slice_of, slice_shape, volume

CT_WINDOW = Window(-1000, 1000)
"""Hounsfield units."""
PERCENTILES = (0.5, 99.5)
"""Of one volume's values, where the modality has no unit."""


@dataclass(frozen=True, slots=True)
class _Options:
    modality: str
    planes: tuple[int, ...] = (2,)
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class _Volume:
    path: Path
    name: str
    shape: tuple[int, int, int]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NiftiDataset:
    """All slices of the volumes, by path, plane and index; a volume counts as one patient."""

    id: str
    card: Card
    volumes: tuple[_Volume, ...]
    options: _Options
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """One item a slice: `a.nii.gz#axial/012`; a volume that cannot be opened is one item.

        Where all planes are asked for, those with slices too small to show are left out.
        """
        items = [item for volume_ in self.volumes for item in self._items(volume_)]
        return pick_per_group(items, limit)

    def _items(self, source: _Volume) -> list[Item]:
        planes = [
            axis
            for axis in self.options.planes
            if len(self.options.planes) == 1 or min(slice_shape(source.shape, axis)) >= MINIMUM_SIDE
        ]
        places = [(axis, index) for axis in planes for index in range(source.shape[axis])]
        return [
            Item(
                id=f"{source.name}#{AXES[axis]}/{index:03d}",
                group=self.options.modality,
                load=partial(_load, source, axis, index, self.options),
                content_key=partial(_content_key, source, axis, index, self.options),
                patient=source.name,
            )
            for axis, index in (places if source.problem is None else [(2, 0)])
        ]


def _load(source: _Volume, axis: int, index: int, options: _Options) -> Decoded:
    if source.problem is not None:
        raise UsageError(source.problem)
    height, width = slice_shape(source.shape, axis)
    if min(height, width) < MINIMUM_SIDE:
        message = f"{source.path}: {AXES[axis]} slices of {width}x{height}; needs {MINIMUM_SIDE}"
        raise UsageError(message)
    values = volume(source.path)
    window = options.window or _default_window(source.path, values, options.modality)
    shown = np.array(slice_of(values, axis, index))  # a view would keep the whole volume
    notes = (f"window [{window.low:g}, {window.high:g}]",)
    return Decoded(grey_to_rgb(window.apply(shown)), notes, intensities=shown)


def _default_window(path: Path, values: np.ndarray, modality: str) -> Window:
    if modality == "ct":
        if values.min() >= 0:
            message = (
                f"{path}: no value is below 0, so these are not Hounsfield units (air is -1000). "
                "Give the window: nifti@ct,LOW..HIGH:PATH"
            )
            raise UsageError(message)
        return CT_WINDOW
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    if low == high:
        message = f"{path}: nearly all values are {low:g}; give a window: nifti@mri,LOW..HIGH:PATH"
        raise UsageError(message)
    return Window(low, high)


def _content_key(source: _Volume, axis: int, index: int, options: _Options) -> list[Any]:
    window = options.window
    shown = [window.low, window.high] if window else [options.modality, *PERCENTILES]
    return [source.problem or file_sha256(source.path), axis, index, shown]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> NiftiDataset:
    """Make the dataset of `nifti@MODALITY[,PLANE][,LOW..HIGH]:PATH`.

    Raises:
        MissingPrerequisite: no such path, or nibabel is not installed.
        UsageError: a wrong option, or no volume that can be opened.
    """
    options = _parse(reference, variant)
    root = find_path(argument, data_root, what="nifti@MODALITY:PATH")
    nibabel()
    paths = sorted(p for p in root.rglob("*") if _is_nifti(p)) if root.is_dir() else [root]
    names = [p.relative_to(root).as_posix() if p != root else p.name for p in paths]
    volumes = tuple(_describe(p, n) for p, n in zip(paths, names, strict=True))
    if all(v.problem is not None for v in volumes):
        reason = volumes[0].problem if volumes else "no .nii or .nii.gz files"
        message = f"{reference}: nothing to read in {root}: {reason}"
        raise UsageError(message)
    identifier = f"nifti@{variant}:{root.name}"
    card = Card.model_validate(
        {
            "id": identifier,
            "title": f"Slices of the volumes in {root.name}",
            "source": "NIfTI files on this machine",
            "licence": "unknown",
            "modalities": [options.modality],
            "layout": "verified (headers read)",
            "patient_key": "the file: each volume counts as one patient",
            "how_to_get": "the user's own files",
            "known_problems": ["Neighbouring slices are alike; voxel sides are not equalised."],
        }
    )
    return NiftiDataset(identifier, card, volumes, options)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz")) and not path.name.startswith(".")


def _describe(path: Path, name: str) -> _Volume:
    try:
        return _Volume(path, name, canonical_shape(path))
    except UsageError as error:
        return _Volume(path, name, (0, 0, 0), str(error))


def _parse(reference: str, variant: str) -> _Options:
    modality, *rest = variant.split(",")
    if not modality:
        message = (
            f"{reference}: NIfTI does not say the modality; give it: nifti@ct:PATH. "
            f"Modalities: {', '.join(MODALITIES)}"
        )
        raise UsageError(message)
    check_modalities([modality], where=reference)
    planes, window = (2,), None
    for option in rest:
        if option == "all":
            planes = (0, 1, 2)
        elif option in AXES:
            planes = (AXES.index(option),)
        else:
            window = _window(reference, option)
    return _Options(modality, planes, window)


def _window(reference: str, option: str) -> Window:
    low, _, high = option.partition("..")
    try:
        window = Window(float(low), float(high))
    except ValueError:
        window = Window(0, 0)
    if not -1e9 < window.low < window.high < 1e9:
        message = (
            f"{reference}: {option!r} is neither a plane ({', '.join(AXES)}, all) "
            "nor a window such as -160..240"
        )
        raise UsageError(message)
    return window
