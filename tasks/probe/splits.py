"""Which images are learnt on, chosen on and scored: three parts that share no patient.

A set with parts of its own keeps them. Where the owners have no validation part, it is taken from
the training part; where they have no parts at all, the images are cut 60/20/20. Both cuts are by
patient (or by image, where patients are unknown), within each class, in the order of a hash: they
depend on nothing but the keys, and repeat on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.datasets.labels import strata_of
from ...harness.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...harness.datasets.store import ImageStore

PARTS = ("train", "val", "test")
RULE = "split-by-unit-1"
"""Name and version of the cut; part of the metrics' definitions."""

WHOLE = {"train": 0.6, "val": 0.2, "test": 0.2}
"""Of a set without parts."""
OF_TRAIN = {"train": 0.75, "val": 0.25}
"""Of a training part without validation images."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Labelled images of one store.

    Attributes:
        store: name of the store: `test` is the one that is scored.
        rows: int64 (n,), the images' rows in it, ascending.
        ids: of each image in its data set.
        groups: of each image.
        labels: of each image.
        patients: of each image; empty where unknown.
        hashes: SHA-256 of each image's pixels.
    """

    store: str
    rows: NDArray[np.int64]
    ids: NDArray[np.object_]
    groups: NDArray[np.str_]
    labels: NDArray[np.object_]
    patients: NDArray[np.object_]
    hashes: NDArray[np.str_]

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """The images of a mask."""
        return Part(
            self.store,
            self.rows[chosen],
            self.ids[chosen],
            self.groups[chosen],
            self.labels[chosen],
            self.patients[chosen],
            self.hashes[chosen],
        )


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, and what a reader must know of them.

    Attributes:
        parts: by `PARTS`.
        warnings: unlabelled images, patients or pixels in two parts.
    """

    parts: Mapping[str, Part]
    warnings: list[str]


def split_images(stores: Mapping[str, ImageStore]) -> Split:
    """Parts from the stores: `test`, and `train` and `val` where the set has them.

    Raises:
        UsageError: no image of a store has a label.
    """
    warnings: list[str] = []
    found = {name: _labelled(name, store, warnings) for name, store in stores.items()}
    if "train" not in found:
        parts = _cut(found["test"], WHOLE)
    elif "val" not in found:
        parts = {**_cut(found["train"], OF_TRAIN), "test": found["test"]}
    else:
        parts = found
    return Split(parts, warnings + _overlaps(parts))


def _labelled(name: str, store: ImageStore, warnings: list[str]) -> Part:
    rows = list(store.rows)
    labels = np.array([row.label for row in rows], dtype=object)
    has_label = np.array([label is not None for label in labels])
    if not has_label.any():
        message = (
            f"none of the {len(rows)} images of the {name} part has a label: there is nothing to "
            "probe for. A table needs a column `label`, a folder PATH/<modality>/<label>/."
        )
        raise UsageError(message)
    left = int((~has_label).sum())
    if left:
        warnings.append(f"{left} of {len(rows)} images of the {name} part have no label: left out")
    part = Part(
        name,
        np.arange(len(rows)),
        np.array([row.id for row in rows], dtype=object),
        np.array([row.group for row in rows]),
        labels,
        np.array([row.patient or "" for row in rows], dtype=object),
        np.array([row.sha256 for row in rows]),
    )
    return part.where(has_label) if left else part


def _cut(whole: Part, shares: Mapping[str, float]) -> dict[str, Part]:
    """Parts of about these shares of the units of each group and class, none of them empty."""
    units = [
        patient or f"#{row}" for patient, row in zip(whole.patients, whole.hashes, strict=True)
    ]
    named = [f"{group}\0{unit}" for group, unit in zip(whole.groups, units, strict=True)]
    of_unit: dict[str, str] = {}
    strata = strata_of(whole.labels.tolist())
    for (unit, label), _count in Counter(zip(named, strata, strict=True)).most_common():
        of_unit.setdefault(unit, label)
    by_class: dict[tuple[str, str], list[str]] = {}
    for unit, label in of_unit.items():
        by_class.setdefault((unit.partition("\0")[0], label), []).append(unit)
    part_of: dict[str, str] = {}
    for members in by_class.values():
        part_of |= _dealt(members, shares)
    chosen = np.array([part_of[unit] for unit in named])
    return {name: whole.where(chosen == name) for name in shares}


def _dealt(units: Sequence[str], shares: Mapping[str, float]) -> dict[str, str]:
    ordered = sorted(units, key=lambda unit: hashlib.sha256(f"{RULE}\0{unit}".encode()).digest())
    names = list(shares)
    # The later parts first: a class of three patients has one in each part.
    counts = {name: max(1, round(shares[name] * len(ordered))) for name in names[1:]}
    found: dict[str, str] = {}
    position = 0
    for name, count in counts.items():
        found |= dict.fromkeys(ordered[position : position + count], name)
        position += count
    return found | dict.fromkeys(ordered[position:], names[0])


def _overlaps(parts: Mapping[str, Part]) -> list[str]:
    """What the parts share and should not, in words."""
    said = []
    for first, second in (("train", "test"), ("val", "test"), ("train", "val")):
        a, b = parts[first], parts[second]
        pixels = int(np.isin(b.hashes, a.hashes).sum())
        if pixels:
            said.append(f"{pixels} images of the {second} part are pixel by pixel in {first}")
        patients = ({*a.patients} & {*b.patients}) - {""}
        if patients:
            said.append(f"{len(patients)} patients are both in the {first} and the {second} part")
    return said
