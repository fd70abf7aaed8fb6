"""What the number means nothing without: the majority answer, and other images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...harness.datasets.question import Question
from ...harness.statistics.draws import DrawStream
from .scoring.asked import Asked

_Key = tuple[str, ...]


def majority_answers(learnt: Sequence[Question], asked: Sequence[Asked]) -> list[str]:
    """The most frequent training answer to questions of the same language, kind and class.

    Where the training questions have no such class, the class does not count, then the kind. Of
    equally frequent answers, the one first in the alphabet.
    """
    counts: dict[_Key, Counter[str]] = {}
    for question in learnt:
        for key in _keys(question):
            counts.setdefault(key, Counter())[question.answer] += 1
    best = {key: min(found, key=lambda a: (-found[a], a)) for key, found in counts.items()}
    return [next((best[key] for key in _keys(each.question) if key in best), "") for each in asked]


def _keys(question: Question) -> list[_Key]:
    """From the narrowest to the widest."""
    language, kind = question.language, question.kind
    return [(language, kind, question.topic or ""), (language, kind), (language,)]


def other_images(count: int, fingerprint: str) -> np.ndarray:
    """int64 (count,): for each image another one, every image once; a lone image keeps itself.

    A random cycle through all images, the same for every tokenizer.
    """
    order = np.argsort(DrawStream("other-images-1", fingerprint, "all").uniform(1, count)[0])
    found = np.empty(count, dtype=np.int64)
    found[order] = np.roll(order, -1)
    return found
