"""A question with what its score is grouped by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ....harness.datasets.asked_images import AskedImages
from ....harness.datasets.dataset import Dataset
from ....harness.datasets.question import Question, QuestionSet
from ....harness.errors import UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that is scored.

    Attributes:
        question: with its reference answer; `image_id` is empty where the image is unknown.
        group: the image's modality, or the group that its reader declares; empty where unknown.
        organ: that the image shows; None where unknown.
    """

    question: Question
    group: str = ""
    organ: str | None = None


def question_set(dataset: Dataset | None) -> QuestionSet:
    """The dataset, if its images are asked about.

    Raises:
        UsageError: it has no questions.
    """
    if dataset is None or not callable(getattr(dataset, "questions", None)):
        name = dataset.id if dataset is not None else "this dataset"
        message = f"{name} has no questions; medsynth, vqa-rad, slake and pubmedvision have"
        raise UsageError(message)
    return dataset  # type: ignore[return-value]


def questions_about(dataset: QuestionSet, images: Collection[str]) -> Sequence[Question]:
    """All questions about some images, by their ids, in the data set's order."""
    own = getattr(dataset, "questions_about", None)
    if own is not None:
        return own(images)
    return [question for question in dataset.questions() if question.image_id in images]


def asked_of(dataset: QuestionSet, limit: int | None = None) -> list[Asked]:
    """All questions about the images of `dataset.items(limit)`, absent images included.

    Raises:
        UsageError: nobody asks about any of these images.
    """
    items = {item.id: item for item in dataset.items(limit)}
    # Readers of question sets give the organ as the image's label; elsewhere it is the class.
    organs = isinstance(dataset, AskedImages)
    found = [
        Asked(question, item.group, item.label if organs else None)
        for question in questions_about(dataset, items)
        for item in [items[question.image_id]]
    ]
    if not found:
        message = f"{dataset.id} asks nothing about its {len(items)} images"
        raise UsageError(message)
    return found


def aligned(asked: Sequence[Asked], answers: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The answer to each question, and the ids of those without one, which get an empty answer.

    Raises:
        UsageError: an answer to a question that nobody asked.
    """
    known = {each.question.id for each in asked}
    strangers = [name for name in answers if name not in known]
    if strangers:
        message = (
            f"{len(strangers)} of {len(answers)} answers are to questions that are not asked: "
            f"{', '.join(strangers[:5])}{' …' if len(strangers) > 5 else ''}. Is it another split, "
            "or other question ids?"
        )
        raise UsageError(message)
    missing = [each.question.id for each in asked if each.question.id not in answers]
    return [answers.get(each.question.id, "") for each in asked], missing
