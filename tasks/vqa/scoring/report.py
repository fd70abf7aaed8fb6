"""Answers of one file scored, or of two compared: what `medbench score vqa` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....harness.files import hash_value
from ....harness.statistics.bootstrap import Sample, bootstrap_means
from ....harness.statistics.intervals import Interval
from ....harness.statistics.paired import paired_means, sign_flip_p
from ....harness.statistics.proportions import mcnemar_p
from ....harness.vocabulary import METRICS, POOLED
from .asked import Asked, aligned
from .legacy import legacy_scores
from .scores import METRICS as SCORED
from .scores import (
    PROPORTIONS,
    Score,
    Worth,
    is_scored,
    legacy_as_scores,
    sample_of,
    scores,
)
from .verdict import Verdict, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Report:
    """Answers to a set of questions, judged and scored.

    Attributes:
        asked: the questions.
        answers: one for each.
        verdicts: one for each.
        scores: of all groups, the legacy setting last.
        missing: ids of questions without an answer; they are wrong.
    """

    asked: Sequence[Asked]
    answers: Sequence[str]
    verdicts: Sequence[Verdict]
    scores: Sequence[Score]
    missing: Sequence[str]

    @property
    def unparsed(self) -> int:
        """Answers that say nothing that could be compared; they are wrong."""
        return sum(not verdict.parsed for verdict in self.verdicts)

    def facts(self) -> dict[str, Any]:
        """For machines: the five metrics by name, and all groups in `groups`."""
        kinds = [each.question.kind for each in self.asked]
        overall = {s.name: s.value for s in self.scores if s.group == POOLED and not s.setting}
        return {
            **overall,
            "n": len(kinds),
            "n_closed": kinds.count("closed"),
            "n_open": kinds.count("open"),
            "unparsed": self.unparsed,
            "missing": list(self.missing),
            "groups": [_score_facts(score) for score in self.scores],
        }

    def rows(self) -> list[dict[str, Any]]:
        """For machines: one for each question, with its verdict."""
        return [
            {
                "question_id": each.question.id,
                "question": each.question.question,
                "answer_type": each.question.kind.upper(),
                "answer": each.question.answer,
                "text": text,
                **asdict(verdict),
            }
            for each, text, verdict in zip(self.asked, self.answers, self.verdicts, strict=True)
        ]


def _score_facts(score: Score) -> dict[str, Any]:
    facts = {
        "name": score.name,
        "group": score.group,
        "setting": score.setting,
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "n": score.n,
    }
    if score.flags:
        facts["flags"] = list(score.flags)
    return facts if score.reason is None else facts | {"reason": score.reason}


def report(
    asked: Sequence[Asked], answers: Mapping[str, str], *, fingerprint: str | None = None
) -> Report:
    """Judge and score answers.

    Args:
        asked: the questions.
        answers: by question id.
        fingerprint: of the images; None takes that of the questions.

    Raises:
        UsageError: an answer to a question that nobody asked.
    """
    texts, missing = aligned(asked, answers)
    questions = [each.question for each in asked]
    verdicts = [judge(q, text) for q, text in zip(questions, texts, strict=True)]
    found = scores(
        asked, Worth.of(verdicts), fingerprint=fingerprint or questions_fingerprint(asked)
    )
    legacy = legacy_as_scores(legacy_scores(questions, texts), asked)
    return Report(asked, texts, verdicts, [*found, *legacy], missing)


def questions_fingerprint(asked: Sequence[Asked]) -> str:
    """SHA-256 over ids, images and references."""
    return hash_value(
        [[e.question.id, e.question.image_id, e.question.answer, e.group] for e in asked]
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of answers to the same questions, by one metric.

    Attributes:
        difference: first minus second, with the clustered bootstrap's ends.
        only_first: questions that only the first answers rightly; None where answers are not right
            or wrong (recall, F1).
        only_second: questions that only the second does.
        mcnemar_p: exact; takes questions as independent. None as `only_first`.
        sign_flip_p: takes images as independent, whose questions hang together.
    """

    difference: Interval
    only_first: int | None
    only_second: int | None
    mcnemar_p: float | None
    sign_flip_p: float

    def facts(self) -> dict[str, Any]:
        """For machines."""
        return {
            "difference": self.difference.value,
            "low": self.difference.low,
            "high": self.difference.high,
            "n": self.difference.count,
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "mcnemar_p": self.mcnemar_p,
            "sign_flip_p": self.sign_flip_p,
        }


def compare(first: Report, second: Report) -> dict[str, Comparison]:
    """Compare two sets of answers to the same questions, question by question, by each metric."""
    fingerprint = questions_fingerprint(first.asked)
    one, two = Worth.of(first.verdicts), Worth.of(second.verdicts)
    found = {}
    for name in SCORED:
        rows = [row for row, each in enumerate(first.asked) if is_scored(name, each)]
        if rows:
            values = one.values(name)[rows] - two.values(name)[rows]
            sample = sample_of([first.asked[row] for row in rows], fingerprint)
            found[name] = _comparison(values, sample, name in PROPORTIONS)
    return found


def _comparison(values: NDArray[np.float64], sample: Sample, right_or_wrong: bool) -> Comparison:
    interval = bootstrap_means(values, sample)[POOLED]
    contributions = paired_means(values, sample)[POOLED].contributions
    flips = sign_flip_p(contributions, fingerprint=sample.fingerprint)
    if not right_or_wrong:
        return Comparison(interval, None, None, None, flips)
    first, second = int((values > 0).sum()), int((values < 0).sum())
    return Comparison(interval, first, second, mcnemar_p(first, second), flips)


def text_of_report(found: Report) -> str:
    """For people: a table of groups, and what is missing."""
    from tabulate import tabulate

    names = list(dict.fromkeys(score.name for score in found.scores))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for score in found.scores:
        label = f"{score.group} ({score.setting})" if score.setting else score.group
        row = rows.setdefault((score.group, score.setting), {"group": label})
        row[METRICS[score.name].title] = _shown(score)
    titles = ["group", *(METRICS[name].title for name in names)]
    table = [[row.get(title, "") for title in titles] for row in rows.values()]
    lines = [
        tabulate(table, headers=titles, disable_numparse=True),
        f"{len(found.asked)} questions; {found.unparsed} answers say nothing that can be compared",
    ]
    if found.missing:
        more = " …" if len(found.missing) > 10 else ""
        lines.append(
            f"{len(found.missing)} questions have no answer and count as wrong: "
            f"{', '.join(found.missing[:10])}{more}"
        )
    marks: dict[str, dict[str, None]] = {}
    for score in found.scores:
        for flag in score.flags:
            of = f"{score.setting}, {METRICS[score.name].title}: " if score.setting else ""
            marks.setdefault(of + flag, {})[score.group] = None
    for mark, groups in marks.items():
        lines.append(mark if POOLED in groups else f"{', '.join(groups)}: {mark}")
    return "\n".join(lines)


def text_of_controls(controls: Mapping[str, Mapping[str, float | str | None]]) -> str:
    """For people: a line for each control."""
    lines = []
    for setting, values in controls.items():
        shown = [
            f"{METRICS[name].title} {value:.4f}"
            for name, value in values.items()
            if isinstance(value, float)
        ]
        lines.append(f"{setting}: {', '.join(shown) or values.get('reason')}")
    return "\n".join(lines)


def _shown(score: Score) -> str:
    if score.value is None:
        return "–"
    ends = f" [{score.low:.3f}, {score.high:.3f}]" if score.low is not None else ""
    return f"{score.value:.4f}{ends} of {score.n}"


def text_of_comparison(found: Mapping[str, Comparison]) -> str:
    """For people: a line for each metric."""
    return "\n".join(_line_of(METRICS[name].title, each) for name, each in found.items())


def _line_of(title: str, found: Comparison) -> str:
    interval = found.difference
    ends = f" [{interval.low:+.4f}, {interval.high:+.4f}]" if interval.low is not None else ""
    text = f"{title}, first minus second: {interval.value:+.4f}{ends}; "
    flips = f"{found.sign_flip_p:.3g} (sign flips by image)"
    if found.mcnemar_p is None:
        return f"{text}p = {flips}"
    return (
        f"{text}only the first right on {found.only_first}, only the second on "
        f"{found.only_second}; p = {found.mcnemar_p:.3g} (McNemar), {flips}"
    )
