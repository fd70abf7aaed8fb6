"""What is audited: collections of images, each in a split of a data set, or private."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..datasets.dataset import Item, pick_per_group
from ..datasets.folder import find_path
from ..datasets.images import SUFFIXES, decode_file
from ..datasets.manifest import ManifestDataset
from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from ..registry import dataset_entries, load_dataset

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Directory names that say which split the images below belong to."""

_PRIVATE_READERS = ("folder", "manifest")
"""Readers that write nothing; others unpack members into the cache."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image belongs: a split of a data set, or the private collection."""

    dataset: str
    split: str
    private: bool = False

    def __str__(self) -> str:
        return self.dataset if self.split == "all" else f"{self.dataset} [{self.split}]"


_PRIVATE = Place("private", "all", private=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image to audit."""

    place: Place
    item: Item


@dataclass(frozen=True, slots=True)
class Source:
    """One collection as the user named it."""

    reference: str
    entries: tuple[Entry, ...]
    root: Path | None = None
    """Of a plain folder."""


def open_source(
    reference: str,
    *,
    private: bool = False,
    limit: int | None = None,
    data_root: Path | None = None,
) -> Source:
    """Resolve a folder of images or a dataset reference such as `manifest@train:FILE`.

    A name that is registered (`medsynth`, `folder:...`) is that dataset; anything else is a
    path: one image, or a tree of images in which directories called train, val or test (and
    their long forms) name the split.

    Args:
        reference: what the user wrote.
        private: to be compared with only, and not to be named.
        limit: at most so many images per group (modality or top directory).
        data_root: where relative paths are looked for too.

    Raises:
        UsageError: no images there, or a private reference whose reader writes to the cache.
        MissingPrerequisite: nothing of that name.
    """
    name = reference.partition(":")[0].partition("@")[0]
    if name not in dataset_entries():
        return _open_tree(reference, private=private, limit=limit, data_root=data_root)
    if private and name not in _PRIVATE_READERS:
        message = (
            f"--against {reference}: the reader {name!r} may keep unpacked images in the cache, "
            "which a private collection must not. Give a folder of images, folder:PATH or "
            "manifest:FILE."
        )
        raise UsageError(message)
    dataset = load_dataset(reference, data_root=data_root)
    # The variant (size, split) is left out: 28 and 224 pixels of one set are one data set.
    argument = reference.partition(":")[2]
    label = f"{name}:{argument}" if argument else name
    splits = _manifest_splits(dataset) if isinstance(dataset, ManifestDataset) else {}
    entries = tuple(
        Entry(_PRIVATE if private else Place(label, splits.get(item.id, dataset.split)), item)
        for item in dataset.items(limit)
    )
    if not entries:
        message = f"{reference}: no images"
        raise UsageError(message)
    return Source(reference, entries)


def _manifest_splits(dataset: ManifestDataset) -> dict[str, str]:
    """Split by id, of a table that has the column."""
    return {
        str(row.get("id") or row["path"]): str(row["split"])
        for row in dataset.rows
        if row.get("split")
    }


def _open_tree(
    reference: str, *, private: bool, limit: int | None, data_root: Path | None
) -> Source:
    try:
        root = find_path(reference, data_root, what="data audit PATH")
    except MissingPrerequisite as error:
        message = f"{error}. Data sets and readers by name: medbench list datasets"
        raise MissingPrerequisite(message) from error
    files = [root] if root.is_file() else _image_files(root)
    if not files:
        message = f"{reference}: no images in {root} (looked for {', '.join(sorted(SUFFIXES))})"
        raise UsageError(message)
    top = root.parent if root.is_file() else root
    items = pick_per_group([_item(top, file) for file in files], limit)
    # A folder that is itself called train is a split of what its parent holds.
    own_split = _SPLIT_NAMES.get(top.name.lower(), "all")
    label = str(Path(reference).parent) if own_split != "all" else reference
    entries = tuple(
        Entry(_PRIVATE if private else Place(label, _split_of(item.id, own_split)), item)
        for item in items
    )
    return Source(reference, entries, root)


def _image_files(root: Path) -> list[Path]:
    found = [
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _item(root: Path, path: Path) -> Item:
    relative = path.relative_to(root)
    return Item(
        id=relative.as_posix(),
        group=relative.parts[0] if len(relative.parts) > 1 else "",
        load=partial(decode_file, path),
        content_key=partial(file_sha256, path),
    )


def _split_of(identifier: str, default: str) -> str:
    directories = identifier.lower().split("/")[:-1]
    return next((_SPLIT_NAMES[part] for part in directories if part in _SPLIT_NAMES), default)


def check_apart(sources: Sequence[Source]) -> None:
    """Refuse sources that hold the same files: every image would be its own duplicate.

    Raises:
        UsageError: one reference twice, or a folder inside another; names both.
    """
    for position, one in enumerate(sources):
        for other in sources[position + 1 :]:
            nested = (
                one.root is not None
                and other.root is not None
                and (one.root.is_relative_to(other.root) or other.root.is_relative_to(one.root))
            )
            if nested or one.reference == other.reference:
                message = (
                    f"{one.reference!r} and {other.reference!r} hold the same files. "
                    "Name each collection once; splits are recognised inside a folder."
                )
                raise UsageError(message)
