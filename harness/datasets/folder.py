"""`folder:PATH`: a directory of images, one sub-directory per modality.

Below the modality a directory may name the split (`train`, `val`, `test`), and the next one is
the label: `PATH/ct/normal/1.png`, `PATH/ct/train/normal/1.png`. `folder@test:PATH` is one split.

`folder@MODALITY:PATH` reads PATH as such a modality directory, which is the layout of torchvision's
ImageFolder: `PATH/train/normal/1.png`. It is the test split where there are splits, and
`folder@MODALITY-SPLIT:PATH` another one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from ..on_demand import OnDemand
from ..vocabulary import MODALITIES
from .card import Card
from .dataset import Item, pick_per_group
from .images import SUFFIXES, decode_file
from .parts import WORDS, written_part

LAYOUTS = (
    "Expected PATH/<modality>/*.png (or jpg, tif, bmp, webp, avif), "
    "PATH/<modality>/<label>/*.png or PATH/<modality>/<split>/<label>/*.png; images of one "
    "modality without its directory (PATH/<split>/<label>/*.png) are read as folder@MODALITY:PATH"
)


@dataclass(frozen=True, slots=True)
class FolderDataset:
    """All image files below `root`, grouped by the modality directory they lie in.

    Attributes:
        modality: of all images, where `root` is itself a modality directory; else empty.
    """

    id: str
    root: Path
    card: Card
    split: str = "all"
    modality: str = ""

    def part(self, name: str) -> FolderDataset:
        """The images below directories that are named as that part.

        Raises:
            UsageError: there are none.
        """
        names = image_names(self.root, self.modality)
        word = written_part(name, splits_of(names), where=str(self.root))
        variant = f"{self.modality}-{word}" if self.modality else word
        return build(f"folder@{variant}:{self.root}", argument=str(self.root), variant=variant)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Files in the order of their relative paths."""
        names = image_names(self.root, self.modality)
        if self.split != "all":
            names = [name for name in names if split_of(name) == self.split]
        items = FolderItems(self.root, names, self.modality)
        return items if limit is None else pick_per_group(items, limit)


class FolderItems(OnDemand[Item]):
    """Items made when asked for; memory holds their names."""

    def __init__(self, root: Path, names: list[str], modality: str = "") -> None:
        self._root = root
        self._names = names
        self._own = f"{modality}/" if modality else ""

    def __len__(self) -> int:
        return len(self._names)

    def made(self, place: int) -> Item:
        """The item of a file."""
        name = self._names[place]
        path = self._root / name.removeprefix(self._own)
        return Item(
            id=name,
            group=name.partition("/")[0],
            load=partial(decode_file, path),
            content_key=partial(file_sha256, path),
            label=label_of(name),
        )


def split_of(name: str) -> str | None:
    """The split that a name of `image_names` has below its modality, or None."""
    directories = name.split("/")[1:-1]
    known = {word for words in WORDS.values() for word in words}
    return directories[0] if directories and directories[0].lower() in known else None


def splits_of(names: Iterable[str]) -> set[str]:
    """The splits that occur, as the directories are called."""
    return {split for each in names if (split := split_of(each))}


def label_of(name: str) -> str | None:
    """The first directory of a name of `image_names` below modality and split, or None."""
    directories = name.split("/")[1:-1]
    below = directories[1:] if split_of(name) else directories
    return below[0] if below else None


def image_names(root: Path, modality: str = "") -> list[str]:
    """`MODALITY/...` of the images in the modality directories of `root`, sorted, none hidden.

    With a modality, `root` itself is that directory.
    """
    if modality:
        return sorted(_names_below(str(root), modality))
    found: list[str] = []
    for directory in root.iterdir():
        if directory.is_dir() and not directory.name.startswith("."):
            found.extend(_names_below(str(directory), directory.name))
    return sorted(found)


def _names_below(directory: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as listing:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    except OSError as error:
        reason = error.strerror or error
        message = f"{directory}: cannot be listed ({reason}); its images would be lost"
        raise UsageError(message) from error
    for name, is_folder in entries:
        if name.startswith("."):
            continue
        path = Path(directory, name)
        if is_folder:
            yield from _names_below(str(path), f"{prefix}/{name}")
        elif path.suffix.lower() in SUFFIXES and path.is_file():
            yield f"{prefix}/{name}"


def image_files(root: Path) -> list[Path]:
    """The files of `image_names`."""
    return [root / name for name in image_names(root)]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> FolderDataset:
    """Make the dataset of `folder:PATH`, `folder@SPLIT:PATH` or `folder@MODALITY[-SPLIT]:PATH`.

    A relative PATH is also looked for in the data root.

    Raises:
        MissingPrerequisite: no such directory.
        UsageError: no path, no images, none of that split, or a directory whose name is not a
            modality.
    """
    first, _, rest = variant.partition("-")
    modality, split = (first, rest) if first in MODALITIES else ("", variant)
    root = find_path(argument, data_root, what="folder:PATH")
    if not root.is_dir():
        message = f"{reference}: {root} is not a directory"
        raise UsageError(message)
    names = image_names(root, modality)
    if not names:
        loose = any(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        found = "images lie directly in" if loose else "no images in"
        message = f"{reference}: {found} {root}. {LAYOUTS}; modalities: {', '.join(MODALITIES)}"
        raise UsageError(message)
    try:
        split = _written_split(split, names, modality, where=reference)
        files = [name for name in names if split_of(name) == split] if split else names
        check_modalities(sorted({name.partition("/")[0] for name in files}), where=str(root))
    except UsageError as error:
        message = f"{error}. {LAYOUTS}"
        raise UsageError(message) from error
    hidden = bool(modality) and split.lower() in WORDS["test"]
    variant = "-".join(word for word in (modality, "" if hidden else split) if word)
    name = f"folder{'@' + variant if variant else ''}:{root.name}"
    card = _card(name, root, files, split or "all")
    return FolderDataset(name, root, card, split or "all", modality)


def _written_split(split: str, names: Sequence[str], modality: str, *, where: str) -> str:
    """The asked split as the directories call it; with a modality, the test split of several."""
    known = splits_of(names)
    if not split and modality and known:
        split = "test"
    return written_part(split, known, where=where) if split else ""


def _card(name: str, root: Path, files: Sequence[str], split: str) -> Card:
    return Card.model_validate(
        {
            "id": name,
            "title": f"Images in {root.name}",
            "source": "a folder on this machine",
            "licence": "unknown",
            "modalities": sorted({each.partition("/")[0] for each in files}),
            "splits": {split: len(files)},
            "layout": "verified (directories of modality, split and label)",
            "how_to_get": "the user's own files",
            "known_problems": ["Patients are unknown, so intervals treat images as independent."],
        }
    )


def find_path(argument: str, data_root: Path | None, *, what: str) -> Path:
    """An existing path: as given, or below the data root."""
    if not argument:
        message = f"{what}: the path is missing"
        raise UsageError(message)
    given = Path(argument).expanduser()
    places = [given] if given.is_absolute() or data_root is None else [given, data_root / given]
    for place in places:
        try:
            if place.is_dir() or place.is_file():
                return place.resolve()
            special = place.exists()
        except OSError as error:  # a name too long
            message = f"{what}: {argument[:80]!r}: {error.strerror}"
            raise UsageError(message) from error
        if special:
            message = f"{what}: {place} is a pipe or a device, not a file or a folder"
            raise UsageError(message)
    message = f"{what}: {' and '.join(str(p.absolute()) for p in places)} not found"
    raise MissingPrerequisite(message)


def check_modalities(groups: Sequence[str], *, where: str) -> None:
    """Refuse group names outside the vocabulary, with the nearest one."""
    wrong = [group for group in groups if group not in MODALITIES]
    if not wrong:
        return
    near = difflib.get_close_matches(wrong[0].lower(), MODALITIES, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    message = f"{where}: {wrong[0]!r} is not a modality.{hint} Modalities: {', '.join(MODALITIES)}"
    raise UsageError(message)
