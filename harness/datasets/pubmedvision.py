"""`pubmedvision@alignment`, `pubmedvision@instruction`: figures of PubMed with generated texts.

The owners' two JSON lists beside a folder of images (Chen et al., arXiv:2406.19280). A row has a
list of images, a conversation of a question and an answer, and, where a model could tell, the
modality. Every image of a row is an item. Only rows about one image give questions, and the
answer of the first as the image's caption, because a question here is about one image.

The list is read object by object. In memory stay one item per image and the texts, each once:
about twice the size of the list (2.2 kB a row of 1.1 kB, measured on 40,000 generated rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .asked_images import AskedImages, ImageFile, RowDefect, absence, find_set, text_of
from .card import packaged_card
from .dataset import Item
from .json_rows import iter_json_rows
from .official import check_official, count_differences
from .question import Question

FILES = {
    "alignment": "PubMedVision_Alignment_VQA.json",
    "instruction": "PubMedVision_InstructionTuning_VQA.json",
}
PLACES = ("pubmedvision", "PubMedVision")
"""Folders below the data root."""

_GROUP_OF = {
    "computed tomography": "ct",
    "ct": "ct",
    "magnetic resonance imaging": "mri",
    "mri": "mri",
    "x-ray": "xray",
    "ultrasound": "ultrasound",
    "endoscopy": "endoscopy",
    "dermoscopy": "dermoscopy",
    "fundus photography": "fundus",
    "microscopy images": "microscopy",
}
"""Words for modalities that have a class in the vocabulary."""


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> AskedImages:
    """Make the set of one of the two lists.

    Images are grouped under the modality that the row states; those of another modality, or of
    none, form one group, which bears the name of the set.

    Raises:
        MissingPrerequisite: the list is not on this machine.
        UsageError: an unknown list, not JSON, no usable row, or a count that is not official
            while modified files are not allowed.
    """
    if variant not in FILES:
        message = f"{reference}: say which list: {', '.join(f'pubmedvision@{n}' for n in FILES)}"
        raise UsageError(message)
    card = packaged_card("pubmedvision")
    name = f"pubmedvision@{variant}"
    folder = find_set(card, argument, data_root, places=PLACES, filename=FILES[variant])
    path = folder / FILES[variant]
    rows = _Rows(path, other_group=name)
    official = {variant: card.splits[variant]}
    counts = count_differences({variant: rows.usable}, official, what="rows")
    marks = check_official(path, differences=[*counts, *rows.defects])
    if not rows.images:
        message = f"{reference}: {path} has no usable row"
        raise UsageError(message)
    several = f"{rows.several:,} rows ask about several images at once; they give no question."
    problems = [
        *marks,
        *absence([each.file for each in rows.images.values()], rows.questions),
        *([several] if rows.several else []),
        *card.known_problems,
    ]
    return AskedImages(
        id=name,
        card=card.model_copy(update={"id": name, "known_problems": problems}),
        split=variant,
        found=tuple(each.item() for each in rows.images.values()),
        asked=tuple(rows.questions),
    )


@dataclass(slots=True)
class _Image:
    file: ImageFile
    group: str
    caption: str | None = None

    def item(self) -> Item:
        return self.file.item(group=self.group, caption=self.caption)


class _Rows:
    """The list's rows: those that can be used, and why the others cannot."""

    def __init__(self, path: Path, *, other_group: str) -> None:
        self.path, self.other_group = path, other_group
        self.questions: list[Question] = []
        self.images: dict[str, _Image] = {}
        self.defects: list[str] = []
        self.usable = 0
        self.several = 0
        self._ids: set[str] = set()
        for number, row in enumerate(iter_json_rows(path), 1):
            try:
                self._take(row, number)
            except RowDefect as defect:
                self.defects.append(f"row {number} left out: {defect}")
            else:
                self.usable += 1

    def _take(self, row: dict[str, Any], number: int) -> None:
        names = row.get("image")
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            message = f"image is {names!r}, expected a list of file names"
            raise RowDefect(message)
        exchanges = _exchanges(row)
        identifier = text_of(row, "id") if "id" in row else f"row-{number}"
        if identifier in self._ids:
            message = f"id {identifier} occurred before"
            raise RowDefect(message)
        self._ids.add(identifier)
        group = _GROUP_OF.get(str(row.get("modality")).strip().lower(), self.other_group)
        for name in names:
            if name not in self.images:
                file = ImageFile(self.path.parent, name, self.path, number)
                self.images[name] = _Image(file, group)
        if len(names) > 1:
            self.several += 1
            return
        image = self.images[names[0]]
        image.caption = image.caption or exchanges[0][1]
        for turn, (question, answer) in enumerate(exchanges):
            own_id = identifier if len(exchanges) == 1 else f"{identifier}#{turn}"
            topic = row.get("body_part")
            self.questions.append(
                Question(own_id, names[0], question, answer, kind="open", topic=topic)
            )


def _exchanges(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Questions with their answers, in the order of the conversation."""
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        message = "conversations is not a list of questions with their answers"
        raise RowDefect(message)
    speakers = [turn.get("from") if isinstance(turn, dict) else None for turn in turns]
    if speakers != ["human", "gpt"] * (len(turns) // 2):
        message = f"speakers are {speakers}, expected human and gpt in turn"
        raise RowDefect(message)
    texts = [text_of(turn, "value") for turn in turns]
    return list(zip(texts[::2], texts[1::2], strict=True))
