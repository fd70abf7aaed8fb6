"""Diagnostic retention: does a classifier that learnt on originals answer the same afterwards?

Two metrics, both paired over images: the share of images whose answer changes (`label_flip_rate`,
right or wrong), and the fall of the AUC (`auc_drop`). Accuracy and AUC on the originals stand
beside them under the setting ``originals``: flips of a classifier that knows nothing mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...harness.datasets.labels import hold_several
from ...harness.errors import MetricError, UsageError
from ...harness.metrics.classification import RankedScores
from ...harness.statistics.bootstrap import Sample, bootstrap_statistic
from ...harness.statistics.intervals import Interval
from ...harness.statistics.proportions import share_means
from ...harness.vocabulary import MACRO, ORIGINALS, POOLED
from ..classifier_recipe import ClassifierRecipe

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.datasets.stored_rows import StoredImage

TRAINING_IMAGES = 2700
"""At most, shared by the groups of the data set."""
PER_LIMIT = 10
"""With --limit N: at most as many times N training images per group."""
RECIPE = ClassifierRecipe(steps=600)
"""Of the classifier; among the labels of an image's group."""

NEAR_CHANCE = "classifier near chance"
"""Flag of groups on whose originals the classifier is not better than the commonest answer."""

Found = Mapping[tuple[str, str, str], Interval | str]
"""By metric, group and setting: the value, or why there is none."""


def classes_of(rows: Iterable[StoredImage]) -> tuple[tuple[str, str], ...]:
    """(group, label) pairs of a training part, sorted.

    Raises:
        UsageError: no labels, several per image, or nothing to tell apart in a group.
    """
    found = {(row.group, row.label) for row in rows if row.label is not None}
    classes = tuple(sorted((group, str(label)) for group, label in found))
    if not classes or hold_several(label for _, label in classes):
        message = (
            "retention needs a training part with one label per image; this set has "
            f"{'several per image' if classes else 'none'}"
        )
        raise UsageError(message)
    sizes = {group: sum(g == group for g, _ in classes) for group, _ in classes}
    alone = [group for group, size in sizes.items() if size < 2]
    if alone:
        message = f"retention: all training images of {', '.join(alone)} have the same label"
        raise UsageError(message)
    return classes


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits of originals and of their reconstructions, float (n, classes) each."""

    classes: tuple[tuple[str, str], ...]
    originals: np.ndarray
    reconstructions: np.ndarray


def retention(store: ImageStore, answers: Answers) -> Found:
    """All values of the two metrics and of their companions, with 95 % intervals."""
    judged = _Judged(store, answers)
    if not len(judged.rows):
        reason = "no image has a label that the training part has"
        return {(name, POOLED, ""): reason for name in ("label_flip_rate", "auc_drop")}
    found: dict[tuple[str, str, str], Interval | str] = {}
    means = {
        ("label_flip_rate", ""): judged.answer != judged.answer_after,
        ("acc", ORIGINALS): judged.answer == judged.truth,
        ("acc", "reconstructions"): judged.answer_after == judged.truth,
    }
    for (name, setting), values in means.items():
        for group, interval in share_means(values, judged.by_group()).items():
            found[name, group, setting] = interval
    groups = judged.groups()
    for group in [*groups, *([MACRO] if len(groups) > 1 else [])]:
        chosen = groups if group == MACRO else [group]
        for name, setting in (("auc", ORIGINALS), ("auc_drop", "")):
            try:
                found[name, group, setting] = judged.auc(chosen, drop=name == "auc_drop")
            except MetricError as error:
                found[name, group, setting] = str(error)
    if len(groups) == 1:
        for name, setting in (("auc", ORIGINALS), ("auc_drop", "")):
            found[name, POOLED, setting] = found[name, groups[0], setting]
    return found


def near_chance(
    store: ImageStore, classes: Collection[tuple[str, str]], values: Found
) -> list[str]:
    """Groups whose accuracy on originals is not resolved from that of the commonest label.

    Images that have none of the `classes` were not asked about, and do not count.
    """
    labels: dict[str, list[str]] = {}
    for row in store.rows:
        if (row.group, str(row.label)) in classes:
            labels.setdefault(row.group, []).append(str(row.label))
    found = []
    for group, names in labels.items():
        interval = values.get(("acc", group, ORIGINALS))
        commonest = max(names.count(name) for name in set(names)) / len(names)
        low = interval.low if isinstance(interval, Interval) else None
        if low is None or low <= commonest:
            found.append(group)
    return found


class _Judged:
    """The images that have a label the classifier knows, and what it answers."""

    def __init__(self, store: ImageStore, answers: Answers) -> None:
        self.numbers = {name: number for number, name in enumerate(answers.classes)}
        pairs = [(row.group, str(row.label)) for row in store.rows]
        self.rows = np.array([i for i, p in enumerate(pairs) if p in self.numbers], dtype=np.int64)
        self.store = store
        self.truth = np.array([self.numbers[pairs[i]] for i in self.rows])
        self.group = np.array([pairs[i][0] for i in self.rows])
        known = np.array([group for group, _ in answers.classes])
        outside = known[None, :] != self.group[:, None]
        self.before = np.where(outside, -np.inf, answers.originals[self.rows])
        self.after = np.where(outside, -np.inf, answers.reconstructions[self.rows])
        if len(self.rows):
            self.answer = self.before.argmax(axis=1)
            self.answer_after = self.after.argmax(axis=1)

    def groups(self) -> list[str]:
        return list(dict.fromkeys(self.group.tolist()))

    def by_group(self) -> Sample:
        return self._sample(self.group.tolist())

    def _sample(self, strata: list[str], within: np.ndarray | None = None) -> Sample:
        rows = self.rows if within is None else self.rows[within]
        patients = [self.store.rows[row].patient or "" for row in rows.tolist()]
        return Sample(self.store.fingerprint, strata, patients)

    def auc(self, groups: list[str], *, drop: bool) -> Interval:
        """Mean over groups of the AUC on originals, or of its fall, drawn class by class."""
        chosen = np.flatnonzero(np.isin(self.group, groups))
        parts = [_Curve(self, np.flatnonzero(self.group[chosen] == g), chosen, g) for g in groups]
        strata = [f"{self.group[i]}/{self.truth[i]}" for i in chosen]
        value = partial(_mean_auc, parts, drop)
        return bootstrap_statistic(value, self._sample(strata, chosen))


class _Curve:
    """Ranked scores of one group, before and after."""

    def __init__(
        self, judged: _Judged, members: np.ndarray, chosen: np.ndarray, group: str
    ) -> None:
        columns = [number for (g, _), number in judged.numbers.items() if g == group]
        truth = judged.truth[chosen[members]] - columns[0]
        before, after = (
            _log_softmax(logits[chosen[members]][:, columns])
            for logits in (judged.before, judged.after)
        )
        self.before, self.after = RankedScores(truth, before), RankedScores(truth, after)
        self._place = np.full(len(chosen), -1)
        self._place[members] = np.arange(len(members))

    def rows(self, drawn: np.ndarray) -> np.ndarray:
        """Those of the drawn images that are of this group, numbered within it."""
        places = self._place[drawn]
        return places[places >= 0]


def _mean_auc(parts: list[_Curve], drop: bool, drawn: np.ndarray) -> float:
    values = []
    for part in parts:
        rows = part.rows(drawn)
        before = part.before.mean_auc(rows)
        values.append(before - part.after.mean_auc(rows) if drop else before)
    return float(np.mean(values))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
