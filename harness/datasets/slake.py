"""`slake@test` (the default), `slake@val`, `slake@train`, or one language: `slake@test-en`.

SLAKE 1.0 as its archive unpacks (Liu et al., ISBI 2021): one JSON list of questions per split and
a folder `imgs` with one folder per image. Questions are in English and Chinese; without a
language all are taken. `slake@test:FOLDER` reads another place than the data root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from .asked_images import (
    AskedImages,
    ImageFile,
    RowDefect,
    absence,
    find_set,
    meaning_of,
    text_of,
)
from .card import packaged_card
from .json_rows import iter_json_rows
from .official import check_official, count_differences
from .question import Language, Question

FILES = {"train": "train.json", "val": "validate.json", "test": "test.json"}
IMAGES = "imgs"
PLACES = ("slake/Slake1.0", "slake", "Slake1.0", "vqa/slake/Slake1.0", "vqa/slake")
"""Folders below the data root."""

_KIND_OF: dict[str, Literal["closed", "open"]] = {"CLOSED": "closed", "OPEN": "open"}
_LANGUAGE_OF: dict[str, Language] = {"en": "en", "zh": "zh"}
_GROUP_OF = {"CT": "ct", "MRI": "mri", "X-Ray": "xray"}


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> AskedImages:
    """Make the question set; images are grouped under the modality that the owners state.

    An image's label is the owners' `location`, such as `Lung`. A part is of the same language.

    Raises:
        MissingPrerequisite: the split's file is not on this machine.
        UsageError: an unknown split or language, not JSON, no usable row, or a count that is
            not official while modified files are not allowed.
    """
    split, _, language = (variant or "test").partition("-")
    if split not in FILES or language not in {"", *_LANGUAGE_OF}:
        message = (
            f"{reference}: no part {variant!r}; splits are {', '.join(FILES)}, each with -en or "
            "-zh for one language"
        )
        raise UsageError(message)
    card = packaged_card("slake")
    folder = find_set(card, argument, data_root, places=PLACES, filename=FILES[split])
    path = folder / FILES[split]
    rows = _Rows(path, folder / IMAGES)
    official = {split: card.splits[split]}
    counts = count_differences({split: len(rows.questions)}, official, what="questions")
    marks = check_official(path, differences=[*counts, *rows.defects])
    chosen = [each for each in rows.questions if language in ("", each.language)]
    if not chosen:
        message = f"{reference}: {path} has no usable question"
        raise UsageError(message)
    name = f"slake@{split}" + (f"-{language}" if language else "")
    images = [rows.images[each] for each in dict.fromkeys(q.image_id for q in chosen)]
    problems = [*marks, *absence(images, chosen), *card.known_problems]
    return AskedImages(
        id=name,
        card=card.model_copy(update={"id": name, "known_problems": problems}),
        split=split,
        found=tuple(
            image.item(group=rows.groups[image.name], label=rows.organs[image.name])
            for image in images
        ),
        asked=tuple(chosen),
        open_part=lambda name: build(
            reference,
            argument=argument,
            variant=f"{name}-{language}" if language else name,
            data_root=data_root,
        ),
    )


class _Rows:
    """The file's rows: those that can be used, and why the others cannot."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.questions: list[Question] = []
        self.images: dict[str, ImageFile] = {}
        self.groups: dict[str, str] = {}
        self.organs: dict[str, str | None] = {}
        self.defects: list[str] = []
        self._ids: set[str] = set()
        for number, row in enumerate(iter_json_rows(path), 1):
            try:
                name = text_of(row, "img_name")
                self._take(row, ImageFile(folder, name, path, number))
            except RowDefect as defect:
                self.defects.append(f"row {number} left out: {defect}")

    def _take(self, row: dict[str, Any], image: ImageFile) -> None:
        group = meaning_of(row, "modality", _GROUP_OF)
        question = Question(
            id=text_of(row, "qid"),
            image_id=image.name,
            question=text_of(row, "question"),
            answer=text_of(row, "answer"),
            kind=meaning_of(row, "answer_type", _KIND_OF),
            language=meaning_of(row, "q_lang", _LANGUAGE_OF),
            topic=row.get("content_type"),
        )
        if question.id in self._ids:
            message = f"qid {question.id} occurred before"
            raise RowDefect(message)
        if self.groups.get(image.name, group) != group:
            message = f"{image.name} is {group}, and was {self.groups[image.name]} before"
            raise RowDefect(message)
        self._ids.add(question.id)
        self.questions.append(question)
        self.images.setdefault(image.name, image)
        self.groups[image.name] = group
        self.organs.setdefault(image.name, str(row.get("location") or "").strip() or None)
