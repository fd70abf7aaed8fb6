"""What the harness asks of a visual question answering set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .dataset import Dataset

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image, with its reference answer as the owners give it."""

    id: str
    """Unique in the set, stable across machines."""
    image_id: str
    """`Item.id` of the image in the same dataset."""
    question: str
    answer: str
    kind: Literal["closed", "open"]
    """Closed: the answer is one of a few that the question implies, such as yes or no."""
    language: Language = "en"
    topic: str | None = None
    """The owners' own class of the question, such as `modality` or `presence`."""


class QuestionSet(Dataset, Protocol):
    """A dataset whose images are asked about."""

    def questions(self, limit: int | None = None) -> Sequence[Question]:
        """All questions in a fixed order, or a fixed pick of at most `limit` of each kind."""
        ...


def pick_per_kind(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """At most `limit` questions of each kind and language: the smallest SHA-256 of their ids.

    A smaller limit gives a subset of a larger one; the original order is kept.
    """
    if limit is None:
        return list(questions)
    taken: dict[tuple[str, str], int] = {}
    chosen: set[str] = set()
    for each in sorted(questions, key=lambda q: hashlib.sha256(q.id.encode()).digest()):
        key = (each.kind, each.language)
        if taken.get(key, 0) < limit:
            taken[key] = taken.get(key, 0) + 1
            chosen.add(each.id)
    return [each for each in questions if each.id in chosen]
