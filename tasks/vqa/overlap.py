"""What is scored and learnt at once: questions are refused, images are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.datasets.parts import part_of
from ...harness.errors import UsageError
from .scoring.asked import question_set, questions_about

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.datasets.question import QuestionSet
    from ...harness.task import Cell
    from .presets import Preset


def shared_questions(scored: QuestionSet, learnt: QuestionSet, limit: int | None) -> int:
    """How many questions two parts of one set share about the learnt one's `items(limit)`."""
    images = {item.id for item in learnt.items(limit)}
    asked = {question.id for question in questions_about(scored, images)}
    # Most parts share no image: the learnt questions are then not looked at.
    return len(asked & {q.id for q in questions_about(learnt, images)}) if asked else 0


def refuse_learnt_questions(dataset: Dataset, preset: Preset) -> None:
    """Check that a preset does not learn the questions that are scored.

    Raises:
        UsageError: it does; or the set has no part, or no questions, to learn on.
    """
    for name in dict.fromkeys((preset.captions, preset.pairs)):
        # Another data set counts its questions by itself: equal ids of both mean nothing.
        if "@" in name and name != dataset.id:
            continue
        scored = question_set(dataset)
        part = scored if name == dataset.id else question_set(part_of(dataset, name))
        if shared := shared_questions(scored, part, preset.images):
            message = (
                f"{dataset.id}: {shared:,} of its questions are among those that preset "
                f"{preset.name} learns on ({part.id}), so that it would be asked what it was told. "
                "Name a part to score, such as NAME@test."
            )
            raise UsageError(message)


def learnt_images(cell: Cell) -> list[str]:
    """For each part, how many scored images are learnt on too, by their pixels; warnings."""
    scored = {row.sha256 for row in cell.store.rows}
    shared = {
        part.dataset.id: len(scored & {row.sha256 for row in part.store.rows})
        for part in cell.parts.values()
    }
    return [
        f"{count:,} of {len(scored):,} scored images are also learnt on, from {name} with its own "
        "captions and questions"
        for name, count in shared.items()
        if count
    ]
