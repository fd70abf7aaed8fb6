"""One answer against its reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ....harness.datasets.question import Question
from .asked import Asked
from .polarity import gold_polarity, polarity_of
from .words import words_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth.

    Attributes:
        correct: closed: the same yes or no, or the same words; open: the same words.
        recall: share of the reference's words that the answer holds, repeated words counted.
        f1: of the words, repeated ones counted.
        parsed: whether the answer says anything that can be compared: any word, and yes or no
            where the reference is one of them. What is not parsed is wrong.
    """

    correct: bool
    recall: float
    f1: float
    parsed: bool


def judge(question: Question, answer: str) -> Verdict:
    """Compare an answer with the reference answer of its question.

    A closed question whose reference is yes or no is decided by the first yes or no of the answer;
    every other one by the same words in the same order.
    """
    language = question.language
    given, wanted = words_of(answer, language), words_of(question.answer, language)
    recall, f1 = overlap(given, wanted)
    expected = gold_polarity(question.answer, language) if question.kind == "closed" else None
    if expected is not None:
        said = polarity_of(answer, language)
        return Verdict(said == expected, recall, f1, parsed=said is not None)
    if not wanted:  # a reference of signs alone, such as "+"
        same = bool(answer.strip()) and answer.strip() == question.answer.strip()
        return Verdict(same, float(same), float(same), parsed=bool(answer.strip()))
    return Verdict(given == wanted, recall, f1, parsed=bool(given))


def judge_all(asked: Sequence[Asked], answers: Sequence[str]) -> list[Verdict]:
    """The verdicts on an answer to each question."""
    return [judge(each.question, text) for each, text in zip(asked, answers, strict=True)]


def overlap(given: Sequence[str], wanted: Sequence[str]) -> tuple[float, float]:
    """Recall and F1 of words, each counted as often as it occurs in both; 0 without words."""
    shared = sum((Counter(given) & Counter(wanted)).values())
    if not shared:
        return 0.0, 0.0
    return shared / len(wanted), 2 * shared / (len(given) + len(wanted))
