"""`vqa-rad@test` (the default), `vqa-rad@train`, `vqa-rad@all`: VQA-RAD as the owners store it.

One JSON list of questions beside a folder of images, from the Open Science Framework (Lau et al.,
Scientific Data 5:180251, 2018). A question belongs to the test part if its `phrase_type` begins
with `test`. `vqa-rad@test:FOLDER` reads another place than the data root.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from .asked_images import AskedImages, ImageFile, RowDefect, absence, find_set, meaning_of, text_of
from .card import packaged_card
from .json_rows import iter_json_rows
from .official import check_official, count_differences
from .question import Question

FILE = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
PLACES = ("vqa-rad", "vqa_rad", "vqa/vqa_rad")
"""Folders below the data root."""

_SPLIT_OF = {"freeform": "train", "para": "train", "test_freeform": "test", "test_para": "test"}
_KIND_OF: dict[str, Literal["closed", "open"]] = {"CLOSED": "closed", "OPEN": "open"}
_ORGANS = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> AskedImages:
    """Make the question set.

    Images carry the organ as their label. The owners state no modality per image, so all are
    one group, which bears the name of the set.

    Raises:
        MissingPrerequisite: the file is not on this machine.
        UsageError: an unknown split, not JSON, no usable row, or counts that are not official
            while modified files are not allowed.
    """
    split = variant or "test"
    if split not in {"train", "test", "all"}:
        message = f"{reference}: no split {variant!r}; splits: test (the default), train, all"
        raise UsageError(message)
    card = packaged_card("vqa-rad")
    folder = find_set(card, argument, data_root, places=PLACES, filename=FILE)
    path = folder / FILE
    rows = _Rows(path, folder / IMAGES)
    found = Counter(rows.splits)
    differences = [*count_differences(found, card.splits, what="questions"), *rows.defects]
    marks = check_official(path, differences=differences)
    chosen = [
        question
        for question, of in zip(rows.questions, rows.splits, strict=True)
        if split in (of, "all")
    ]
    if not chosen:
        message = f"{reference}: {path} has no usable {split} question"
        raise UsageError(message)
    name = f"vqa-rad@{split}"
    names = dict.fromkeys(question.image_id for question in chosen)
    images = [rows.images[each] for each in names]
    problems = [*marks, *absence(images, chosen), *card.known_problems]
    return AskedImages(
        id=name,
        card=card.model_copy(update={"id": name, "known_problems": problems}),
        split=split,
        found=tuple(image.item(group=name, label=rows.organs[image.name]) for image in images),
        asked=tuple(chosen),
        open_part=lambda name: build(
            reference, argument=argument, variant=name, data_root=data_root
        ),
    )


class _Rows:
    """The file's rows: those that can be used, and why the others cannot."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.questions: list[Question] = []
        self.splits: list[str] = []
        self.images: dict[str, ImageFile] = {}
        self.organs: dict[str, str | None] = {}
        self.defects: list[str] = []
        self._ids: set[str] = set()
        for number, row in enumerate(iter_json_rows(path), 1):
            try:
                name = text_of(row, "image_name")
                self._take(row, ImageFile(folder, name, path, number))
            except RowDefect as defect:
                self.defects.append(f"row {number} left out: {defect}")

    def _take(self, row: dict[str, Any], image: ImageFile) -> None:
        split = meaning_of(row, "phrase_type", _SPLIT_OF)
        question = Question(
            id=text_of(row, "qid"),
            image_id=image.name,
            question=text_of(row, "question"),
            answer=text_of(row, "answer"),
            kind=meaning_of(row, "answer_type", _KIND_OF),
            topic=row.get("question_type"),
        )
        if question.id in self._ids:
            message = f"qid {question.id} occurred before"
            raise RowDefect(message)
        self._ids.add(question.id)
        self.questions.append(question)
        self.splits.append(split)
        self.images.setdefault(image.name, image)
        self.organs.setdefault(image.name, _ORGANS.get(str(row.get("image_organ")).strip()))
