"""The MedMNIST 2-D sets: `breastmnist@28` (its test split), `breastmnist@28-train`, `@28-val`.

Read from the owners' npz files (Yang et al., Scientific Data 10:41, 2023), which the user places
in the data root; nothing is downloaded. A file must have the md5 that the `medmnist` package
prints for it, unless MEDBENCH_ALLOW_MODIFIED=1 says otherwise; then the card says so.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from .card import Card
from .dataset import Item, pick_per_group
from .images import Decoded, grey_to_rgb
from .medmnist_sets import MODALITY_OF, PROBLEMS, SIZES
from .npz_member import open_member

SPLITS = ("train", "val", "test")
ALLOW_MODIFIED = "MEDBENCH_ALLOW_MODIFIED"
"""Environment variable: 1 reads files whose md5 is not the official one."""


@dataclass(frozen=True, slots=True)
class MedMnistDataset:
    """One split of one set at one size.

    Attributes:
        label_names: class names by index; of a multi-label set, the findings.
    """

    id: str
    card: Card
    split: str
    path: Path
    label_names: tuple[str, ...]
    multi_label: bool
    size: int

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Rows in the file's order.

        A multi-label row is labelled with its findings joined by `|` (no finding: empty). A row
        whose label is out of range, or whose image is all zero, fails when it is loaded.

        Raises:
            UsageError: the arrays are damaged or not of the official shape.
        """
        labels = open_member(self.path, f"{self.split}_labels")
        expected = self.card.splits[self.split]
        width = len(self.label_names) if self.multi_label else 1
        _check_shape(self.path, f"{self.split}_labels", labels, (expected, width))
        group = self.card.modalities[0]
        items = [self._item(row, group, labels[row]) for row in range(len(labels))]
        return pick_per_group(items, limit)

    def _item(self, row: int, group: str, label: np.ndarray) -> Item:
        text = self._label(label)
        where = f"{self.path}: {self.split} row {row}"
        problem = None
        if text is None:
            highest = 1 if self.multi_label else len(self.label_names) - 1
            problem = f"{where}: label {label.tolist()} is outside 0..{highest}"
        return Item(
            id=f"{self.split}/{row:06d}",
            group=group,
            load=partial(self._load, row, problem),
            content_key=partial(self._content_key, row),
            label=text,
        )

    def _label(self, label: np.ndarray) -> str | None:
        """The row's label in words; None where it is no legal label."""
        values = label.tolist()
        if self.multi_label:
            if any(value not in (0, 1) for value in values):
                return None
            return "|".join(n for n, v in zip(self.label_names, values, strict=True) if v)
        legal = values[0] in range(len(self.label_names))
        return self.label_names[int(values[0])] if legal else None

    def _load(self, row: int, problem: str | None) -> Decoded:
        if problem is not None:
            raise UsageError(problem)
        name = f"{self.split}_images"
        images = open_member(self.path, name)
        colour = images.shape[3:] == (3,)
        shape = (self.card.splits[self.split], self.size, self.size, *((3,) if colour else ()))
        _check_shape(self.path, name, images, shape)
        image = np.array(images[row])
        if not image.any():
            message = f"{self.path}: {self.split} row {row}: the image is all zero. Fetch it again."
            raise UsageError(message)
        return Decoded(image if colour else grey_to_rgb(image))

    def _content_key(self, row: int) -> list[Any]:
        return [file_sha256(self.path), self.split, row]


def _check_shape(path: Path, name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if array.shape != shape or array.dtype.kind not in "ui":
        message = (
            f"{path}: {name} is {array.dtype} {array.shape}; the official array is {shape}, "
            "unsigned integers. This is another file, or a subset."
        )
        raise UsageError(message)
    if name.endswith("images") and array.dtype != np.uint8:
        message = f"{path}: {name} is {array.dtype}, expected uint8"
        raise UsageError(message)


@lru_cache(maxsize=1)
def official_table() -> dict[str, Any]:
    """The package's INFO, read without importing the package (which would load torch).

    Raises:
        MissingPrerequisite: `medmnist` is not installed.
    """
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    package = find_spec("medmnist")
    if package is None or package.origin is None:
        message = "MedMNIST needs the package that lists its files: pip install medmnist"
        raise MissingPrerequisite(message)
    spec = spec_from_file_location("_medmnist_info", Path(package.origin).with_name("info.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.INFO


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> MedMnistDataset:
    """Make the dataset of `NAME@SIZE` or `NAME@SIZE-SPLIT`.

    Raises:
        MissingPrerequisite: the file is not on this machine; the message says where it was
            looked for and where it is distributed.
        UsageError: an unknown size or split, or a file that is not the official one.
    """
    name = re.split("[@:]", reference)[0]
    size, split = _size_and_split(reference, variant)
    if argument:
        message = f"{reference}: takes no path; files are found in the data root"
        raise UsageError(message)
    info = official_table()[name]
    suffix = "" if size == 28 else f"_{size}"
    path = _find(reference, f"{name}{suffix}.npz", info[f"url{suffix}"], data_root)
    modified = _check_official(path, info[f"MD5{suffix}"])
    for part in SPLITS:
        rows = len(open_member(path, f"{part}_labels"))
        if rows != info["n_samples"][part]:
            official = info["n_samples"][part]
            message = f"{path}: {part} has {rows} rows, the official file has {official}"
            raise UsageError(message)
    identifier = f"{name}@{size}" + ("" if split == "test" else f"-{split}")
    return MedMnistDataset(
        id=identifier,
        card=_card(identifier, info, size, modified),
        split=split,
        path=path,
        label_names=tuple(info["label"][str(i)] for i in range(len(info["label"]))),
        multi_label=info["task"].startswith("multi-label"),
        size=size,
    )


def _size_and_split(reference: str, variant: str) -> tuple[int, str]:
    size, _, split = variant.partition("-")
    if size not in {str(s) for s in SIZES} or (split or "test") not in SPLITS:
        message = (
            f"{reference}: say which size, and which split unless it is test: "
            f"NAME@SIZE or NAME@SIZE-SPLIT with sizes {', '.join(map(str, SIZES))} "
            f"and splits {', '.join(SPLITS)}"
        )
        raise UsageError(message)
    return int(size), split or "test"


def _find(reference: str, filename: str, url: str, data_root: Path | None) -> Path:
    roots = [data_root / "medmnist", data_root] if data_root is not None else []
    places = [root / filename for root in (*roots, Path.home() / ".medmnist")]
    for place in places:
        if place.is_file():
            return place.resolve()
    message = (
        f"{reference}: {filename} is not on this machine. Looked at: "
        f"{', '.join(map(str, places))}. Download {url} and place it at one of them"
        + ("" if data_root else " (or set MEDBENCH_DATA)")
    )
    raise MissingPrerequisite(message)


def _check_official(path: Path, md5: str) -> str | None:
    """None for the official file, else the md5 that was found, if such files are allowed."""
    stat = path.stat()
    found = _md5(path, stat.st_size, stat.st_mtime_ns)
    if found == md5:
        return None
    if os.environ.get(ALLOW_MODIFIED, "") == "1":
        return found
    message = (
        f"{path} is not the official file: its md5 is {found}, the owners print {md5}. It is "
        f"damaged or modified: fetch it again, or set {ALLOW_MODIFIED}=1 to read it as it is "
        "(results are then marked)"
    )
    raise UsageError(message)


@lru_cache(maxsize=64)
def _md5(path: Path, size: int, modified_ns: int) -> str:
    del size, modified_ns  # part of the key: a changed file is hashed again
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _card(identifier: str, info: dict[str, Any], size: int, modified: str | None) -> Card:
    name = identifier.partition("@")[0]
    problems = [PROBLEMS[name]] if name in PROBLEMS else []
    if size < 256:
        problems.append(f"Images are {size} pixels a side and enlarged to 256, so they are smooth.")
    if modified is not None:
        problems.insert(0, f"modified file: its md5 is {modified}, not the official one")
    return Card.model_validate(
        {
            "id": identifier,
            "title": f"{info['python_class']} at {size} pixels",
            "source": info["url" if size == 28 else f"url_{size}"],
            "licence": info["license"],
            "citation": "Yang et al., MedMNIST v2, Scientific Data 10:41 (2023)",
            "modalities": [MODALITY_OF[name]],
            "native_size": f"{size}x{size}",
            "bit_depth": "8 bits per channel",
            "splits": dict(info["n_samples"]),
            "layout": "verified (array names, shapes and split sizes checked on reading)",
            "how_to_get": "download the npz from the source into the data root's medmnist folder",
            "known_problems": problems,
            "pixels": "publish" if info["license"] == "CC BY 4.0" else "local",
        }
    )
