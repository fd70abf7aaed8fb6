"""From verdicts to a record's metrics and its table of questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...harness.record_metric import Metric, metric_of
from ...harness.task import Outcome
from ...harness.vocabulary import MAJORITY, METRICS, POOLED
from .controls import majority_answers
from .definitions import metric_key
from .scoring.legacy import legacy_scores
from .scoring.scores import LEGACY, Score, Worth, legacy_as_scores, scores
from .scoring.verdict import judge_all

if TYPE_CHECKING:
    from ...harness.datasets.question import Question
    from ...harness.task import Cell
    from .scoring.asked import Asked
    from .scoring.verdict import Verdict


class Table:
    """Collects the answers of a cell: metrics by setting, and a row for each question."""

    def __init__(self, cell: Cell, asked: Sequence[Asked]) -> None:
        self.cell, self.asked = cell, asked
        self.metrics: list[Metric] = []
        hashes = {row.id: row.sha256 for row in cell.store.rows}
        questions = [each.question for each in asked]
        self.columns: dict[str, list[Any]] = {
            "id": [q.id for q in questions],
            "group": [each.group for each in asked],
            "sha256": [hashes.get(q.image_id) for q in questions],
            "image": [q.image_id for q in questions],
            "kind": [q.kind for q in questions],
            "language": [q.language for q in questions],
            "topic": [q.topic for q in questions],
            "organ": [each.organ for each in asked],
            "question": [q.question for q in questions],
            "reference": [q.answer for q in questions],
        }

    def add_answers(
        self,
        setting: str,
        attempts: Sequence[Sequence[Verdict]],
        answers: Sequence[str],
        *,
        legacy: bool = False,
    ) -> None:
        """Score answers; several attempts at each question are averaged.

        Args:
            setting: of the metrics; empty for the main one, which alone has all groups.
            attempts: verdicts on all questions, one sequence for each attempt.
            answers: of the first attempt.
            legacy: whether the old definition is added.
        """
        worth = Worth.of(*attempts)
        fingerprint = self.cell.store.fingerprint
        for score in scores(self.asked, worth, fingerprint=fingerprint, brief=bool(setting)):
            self._add(replace(score, setting=setting))
        suffix = f" ({setting})" if setting else ""
        self.columns[f"answer{suffix}"] = list(answers)
        self.columns[f"correct{suffix}"] = worth.correct.tolist()
        if not setting:
            self.columns |= {"recall": worth.recall.tolist(), "f1": worth.f1.tolist()}
            self.columns["parsed"] = [verdict.parsed for verdict in attempts[0]]
        if legacy:
            old = legacy_scores([each.question for each in self.asked], answers)
            for score in legacy_as_scores(old, self.asked):
                self._add(score)

    def add_majority(self, learnt: Sequence[Question] | str) -> None:
        """Score the most frequent of training answers; a text says why there are none."""
        if isinstance(learnt, str):
            self.absent(MAJORITY, learnt)
            return
        answers = majority_answers(learnt, self.asked)
        self.add_answers(MAJORITY, [judge_all(self.asked, answers)], answers)

    def absent(self, setting: str, reason: str) -> None:
        """Say why there are no values of a setting."""
        for name in ("overall", "closed_accuracy", "open_exact"):
            self._add(Score(name, POOLED, None, 0, setting=setting, reason=reason))

    def _add(self, score: Score) -> None:
        definition = self.cell.definitions[metric_key(score.name, score.setting)]
        keep = METRICS[score.name].ranked and score.setting in ("", LEGACY)
        self.metrics.append(
            metric_of(
                score.name,
                score.group,
                definition,
                setting=score.setting,
                value=score.value,
                low=score.low,
                high=score.high,
                n=score.n,
                replicates=score.replicates if keep else None,
                flags=score.flags,
                reason=score.reason,
            )
        )


def outcome(table: Table, warnings: list[str], **more: Any) -> Outcome:
    """The outcome of a cell; `more` are further fields of it."""
    import pandas as pd

    return Outcome(table.metrics, pd.DataFrame(table.columns), warnings=warnings, **more)
