"""What the number means nothing without: the majority answer, and other images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...harness.datasets.dataset import Dataset
from ...harness.datasets.parts import part_of
from ...harness.datasets.question import Question
from ...harness.errors import MedbenchError
from ...harness.statistics.draws import DrawStream
from ...harness.vocabulary import BLIND, MAJORITY, POOLED, SHUFFLED
from .overlap import shared_questions
from .presets import DEFAULT, find_preset
from .scoring.asked import Asked, asked_of, question_set
from .scoring.report import questions_fingerprint
from .scoring.scores import Worth, scores
from .scoring.verdict import judge_all

ELSEWHERE = "the model that gave these answers is not at hand"
"""Why there are no answers of it to other images, to none, or at a temperature."""

_Key = tuple[str, ...]


def training_questions(dataset: Dataset | None) -> Sequence[Question] | str:
    """About the images of the `train` part that the default preset learns on, or why none are."""
    try:
        scored = question_set(dataset)
        part = question_set(part_of(scored, "train"))
        limit = find_preset(DEFAULT).images
        if shared := shared_questions(scored, part, limit):
            return f"no training questions: {shared:,} of those of {part.id} are scored"
        return [each.question for each in asked_of(part, limit)]
    except MedbenchError as error:
        return f"no training questions: {error}"


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


def controls_of(
    asked: Sequence[Asked], learnt: Sequence[Question] | str
) -> dict[str, dict[str, float | str | None]]:
    """The controls of answers from elsewhere: values of each over all questions, or a `reason`.

    Args:
        asked: the questions.
        learnt: training questions, or why there are none.
    """
    found: dict[str, dict[str, float | str | None]] = {
        MAJORITY: {"reason": str(learnt)},
        BLIND: {"reason": ELSEWHERE},
        SHUFFLED: {"reason": ELSEWHERE},
    }
    if not isinstance(learnt, str):
        worth = Worth.of(judge_all(asked, majority_answers(learnt, asked)))
        values = scores(asked, worth, fingerprint=questions_fingerprint(asked), brief=True)
        found[MAJORITY] = {score.name: score.value for score in values if score.group == POOLED}
    return found


def _keys(question: Question) -> list[_Key]:
    """From the narrowest to the widest."""
    language, kind = question.language, question.kind
    return [(language, kind, question.topic or ""), (language, kind), (language,)]


def other_images(count: int, fingerprint: str) -> np.ndarray:
    """int64 (count,): for each image another one, every image once; two at least.

    A random cycle through all images, the same for every tokenizer.
    """
    order = np.argsort(DrawStream("other-images-1", fingerprint, "all").uniform(1, count)[0])
    found = np.empty(count, dtype=np.int64)
    found[order] = np.roll(order, -1)
    return found
