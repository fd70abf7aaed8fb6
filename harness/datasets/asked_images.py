"""What the readers of question sets share: the set itself, its images, and where it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ..errors import MissingPrerequisite, UsageError
from ..file_hashes import file_sha256
from .card import Card
from .dataset import Item, pick_per_group
from .folder import find_path
from .images import Decoded, decode_file
from .question import Question, pick_per_kind

_Meaning = TypeVar("_Meaning")


@dataclass(frozen=True, slots=True)
class AskedImages:
    """Images with questions about them.

    Patients are unknown: several questions share an image, which is the cluster of statistics.
    An image's label is the organ that it shows, where the owners state one.
    """

    id: str
    card: Card
    split: str
    found: tuple[Item, ...]
    asked: tuple[Question, ...]
    open_part: Callable[[str], AskedImages] | None = None
    """Opens another part of the set by its name; None where there are no parts."""

    def part(self, name: str) -> AskedImages:
        """The part of that name (`train`, `val`, `test`) of the same set.

        Raises:
            UsageError: the set has no parts, or none of that name.
        """
        if self.open_part is None:
            message = f"{self.id} has no parts, and {name!r} was asked for"
            raise UsageError(message)
        return self.open_part(name)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Images in the order in which they are first asked about; absent ones fail on loading."""
        return pick_per_group(self.found, limit)

    def questions(self, limit: int | None = None) -> Sequence[Question]:
        """Questions in the file's order, those about absent images included."""
        return pick_per_kind(self.asked, limit)


class RowDefect(ValueError):
    """Why one row of a question file cannot be used."""


def text_of(row: dict[str, Any], field: str) -> str:
    """A text that must be there, untouched; a number is given as its digits.

    Raises:
        RowDefect: absent, blank or of another type.
    """
    value = row.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        message = f"{field} is {value!r}, expected a text"
        raise RowDefect(message)
    return value


def meaning_of(row: dict[str, Any], field: str, words: Mapping[str, _Meaning]) -> _Meaning:
    """What one of the owners' words stands for; blanks around it do not count.

    Raises:
        RowDefect: absent, or none of the words.
    """
    word = text_of(row, field).strip()
    if word not in words:
        message = f"{field} is {word!r}, expected one of {', '.join(words)}"
        raise RowDefect(message)
    return words[word]


def find_set(
    card: Card, argument: str, data_root: Path | None, *, places: Sequence[str], filename: str
) -> Path:
    """The folder that holds `filename`: the one named, or one of `places` below the data root.

    Raises:
        MissingPrerequisite: none does; the message says how to get the set.
    """
    if argument:
        folders = [find_path(argument, data_root, what=f"{card.id}:FOLDER")]
    else:
        folders = [data_root / place for place in places] if data_root is not None else []
    for folder in folders:
        if (folder / filename).is_file():
            return folder.resolve()
    where = f"Looked for {filename} in {', '.join(map(str, folders))}"
    message = (
        f"{card.id} is not on this machine. {where if folders else 'MEDBENCH_DATA is not set'}. "
        f"How to get it:\n{card.how_to_get.strip()}"
    )
    raise MissingPrerequisite(message)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a set, named by a row of its question file."""

    folder: Path
    name: str
    """As the row gives it, relative to the folder."""
    source: Path
    """The question file."""
    row: int
    """Of the first row that names the image, from 1."""

    @property
    def where(self) -> str:
        """File and row, for messages."""
        return f"{self.source}: row {self.row}"

    @property
    def refusal(self) -> str | None:
        """Why the name is not followed; None where it stays inside the folder."""
        parts = PurePosixPath(self.name).parts
        if ".." in parts or "\\" in self.name or PurePosixPath(self.name).is_absolute():
            return f"{self.where}: image {self.name!r} leaves the image folder; it is not read"
        return None

    @property
    def path(self) -> Path:
        """Where it should be."""
        return self.folder / self.name

    @property
    def present(self) -> bool:
        """Whether there is a file that may be read."""
        return self.refusal is None and self.path.is_file()

    def item(self, *, group: str, label: str | None = None, caption: str | None = None) -> Item:
        """The dataset's item, whose id is the name."""
        return Item(
            id=self.name,
            group=group,
            load=partial(_load, self),
            content_key=partial(_content_key, self),
            label=label,
            caption=caption,
        )


def _load(image: ImageFile) -> Decoded:
    if image.refusal is not None:
        raise UsageError(image.refusal)
    if not image.path.is_file():
        message = f"{image.path} is missing; {image.where} asks about it"
        raise UsageError(message)
    return decode_file(image.path)


def _content_key(image: ImageFile) -> list[str]:
    return [file_sha256(image.path) if image.present else "absent"]


def absence(images: Sequence[ImageFile], asked: Sequence[Question]) -> list[str]:
    """A known problem that a record repeats, where images are not there."""
    absent = {image.name for image in images if not image.present}
    if not absent:
        return []
    without = sum(question.image_id in absent for question in asked)
    return [
        f"found {len(images) - len(absent):,} of {len(images):,} images; {without:,} of "
        f"{len(asked):,} questions have no image"
    ]
