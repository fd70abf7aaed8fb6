"""The definition behind many published numbers, faults included, to explain them; never ranked.

As LLaVA-Med's evaluation behaves (v1.0 to v1.5). For closed questions, an answer that holds the
letters `yes` or `no` anywhere (also in `normal`) is right if it holds the reference's letters, and
is otherwise *left out of the denominator*; an answer that holds neither is wrong. What it calls
exact match is the share of the answer's words that the reference holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ....harness.datasets.question import Question
from .words import words_of

RULE = "llava-med-legacy-1"


@dataclass(frozen=True, slots=True)
class LegacyScores:
    """Means of the old definition; None where nothing is left to count.

    Attributes:
        closed_accuracy: of the closed questions that were not left out.
        closed_counted: how many these are.
        open_exact: mean unigram precision, under the name that it goes by.
        open_recall: mean share of the reference's words.
        open_f1: mean harmonic mean of both.
        open_counted: open questions.
    """

    closed_accuracy: float | None
    closed_counted: int
    open_exact: float | None
    open_recall: float | None
    open_f1: float | None
    open_counted: int


def legacy_scores(questions: Sequence[Question], answers: Sequence[str]) -> LegacyScores:
    """Score answers by the old definition."""
    hits: list[bool] = []
    precisions: list[float] = []
    recalls: list[float] = []
    f1s: list[float] = []
    for question, answer in zip(questions, answers, strict=True):
        given, wanted = words_of(answer, "en"), words_of(question.answer, "en")
        if question.kind == "closed":
            said, reference = " ".join(given), " ".join(wanted)
            right = reference in said
            says_either = "yes" in said or "no" in said
            if right or not says_either:
                hits.append(right and says_either)
            continue
        shared = sum((Counter(given) & Counter(wanted)).values())
        precisions.append(shared / len(given) if given else 0.0)
        recalls.append(shared / len(wanted) if wanted else 0.0)
        total = len(given) + len(wanted)
        f1s.append(2 * shared / total if total else 0.0)
    return LegacyScores(
        _mean(hits), len(hits), _mean(precisions), _mean(recalls), _mean(f1s), len(recalls)
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
