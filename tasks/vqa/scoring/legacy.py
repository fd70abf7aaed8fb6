"""The definition behind many published numbers, faults included, to explain them; never ranked.

As LLaVA-Med's evaluation behaves (v1.0 to v1.5). For closed questions, an answer that holds the
letters `yes` or `no` anywhere (also in `normal`) is right if it holds the reference's letters, and
is otherwise *left out of the denominator*; an answer that holds neither is wrong. What it calls
exact match is the number of different words that both hold, of the answer's words. Recall counts a
word as often as the answer repeats it. The words are those of our normaliser; upstream's is older
and differs in contractions and number words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....harness.datasets.question import Question
from .words import words_of

RULE = "llava-med-legacy-2"


@dataclass(frozen=True, slots=True)
class LegacyScores:
    """Means of the old definition; None where nothing is left to count.

    Attributes:
        closed_accuracy: of the closed questions that were not left out.
        closed_counted: how many these are.
        open_exact: mean share of different shared words in the answer's, under the name that it
            goes by.
        open_recall: mean share of the reference's words, repeated by the answer.
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
    opened: list[tuple[float, float, float]] = []
    for question, answer in zip(questions, answers, strict=True):
        given, wanted = words_of(answer, "en"), words_of(question.answer, "en")
        if question.kind == "closed":
            said, reference = " ".join(given), " ".join(wanted)
            right = reference in said
            says_either = "yes" in said or "no" in said
            if right or not says_either:
                hits.append(right and says_either)
            continue
        opened.append(_of_words(given, wanted))
    exact, recall, f1 = (_mean([row[place] for row in opened]) for place in range(3))
    return LegacyScores(_mean(hits), len(hits), exact, recall, f1, len(opened))


def _of_words(given: Sequence[str], wanted: Sequence[str]) -> tuple[float, float, float]:
    """Exact match, recall and F1 of one open question, as upstream counts them."""
    shared = set(given) & set(wanted)
    if not shared:
        return 0.0, 0.0, 0.0
    hits = sum(word in shared for word in given)
    lost = sum(word not in shared for word in wanted)
    return len(shared) / len(given), hits / (hits + lost), 2 * hits / (hits + len(given) + lost)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
