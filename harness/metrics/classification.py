"""Scores of a classifier: AP, AUC, accuracy, balanced accuracy and worst-class recall.

Labels are class numbers, or for multi-label sets a table of zeros and ones. Scores are any numbers
that grow with the belief in a class, such as log-probabilities. A class without a positive or
without a negative image has no AP and no AUC: per class they are NaN, and means over classes refuse
them, because a mean over other classes would be another metric.

`RankedScores` sorts once; AP and AUC of a resample then need no sort, which is what makes a
thousand bootstrap draws cheap.

Sources: AP as in Davis, Goadrich, "The relationship between precision-recall and ROC curves", ICML
2006, without interpolation, equal scores entering together (scikit-learn's rule); AUC as the
Mann-Whitney statistic (Hanley, McNeil, Radiology 143, 1982), averaged over classes as MedMNIST's
evaluator does (Yang et al., Scientific Data 10, 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.bool_]


class RankedScores:
    """The scores of a test set in order, class by class.

    Args:
        truth: int (N,), class numbers 0 to C - 1; or 0/1 (N, C), the labels that hold.
        scores: float (N, C), higher for more belief. With class numbers and C = 2, one column is
            the other's complement, as probabilities are.

    Raises:
        MetricError: another shape, a label that is no class, or scores that are not finite.
    """

    def __init__(self, truth: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        members = class_members(truth, scores)
        self._binary = np.ndim(truth) == 1 and scores.shape[1] == 2
        self._columns = [_Column(*each) for each in zip(members.T, scores.T, strict=True)]
        self._rows = len(scores)

    def average_precisions(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """AP of each class, float64 (C,); NaN for a class without a positive image.

        Args:
            rows: the images to count, with repetitions; None for each once.
        """
        counts = self._counts(rows)
        return np.array([column.average_precision(counts) for column in self._columns])

    def roc_aucs(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """AUC of each class against the rest, float64 (C,); NaN without positive or negative."""
        counts = self._counts(rows)
        return np.array([column.roc_auc(counts) for column in self._columns])

    def mean_average_precision(self, rows: NDArray[np.int64] | None = None) -> float:
        """Unweighted mean of AP over all classes, both of a binary set included, in [0, 1].

        Raises:
            MetricError: a class without a positive image.
        """
        return _mean_over_classes(self.average_precisions(rows), "AP")

    def mean_auc(self, rows: NDArray[np.int64] | None = None) -> float:
        """AUC by MedMNIST's rule, in [0, 1].

        The last column for binary sets; one-vs-rest averaged over classes for several classes,
        ordered ones too; averaged over labels for multi-label sets.

        Raises:
            MetricError: a class without a positive or without a negative image.
        """
        aucs = self.roc_aucs(rows)
        return _mean_over_classes(aucs[-1:] if self._binary else aucs, "AUC")

    def _counts(self, rows: NDArray[np.int64] | None) -> NDArray[np.float64]:
        if rows is None:
            return np.ones(self._rows)
        return np.bincount(rows, minlength=self._rows).astype(np.float64)


class _Column:
    """One class: images from high to low score, in groups of equal score."""

    def __init__(self, members: Table, scores: NDArray[np.floating]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._positive = members[self._order].astype(np.float64)
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])

    def average_precision(self, counts: NDArray[np.float64]) -> float:
        positive, negative = self._groups(counts)
        found = np.cumsum(positive)
        if found[-1] == 0:
            return np.nan
        # A group that was not drawn adds no positives; the floor only avoids 0/0 for it.
        precision = found / np.maximum(found + np.cumsum(negative), 1.0)
        return float(positive @ precision / found[-1])

    def roc_auc(self, counts: NDArray[np.float64]) -> float:
        positive, negative = self._groups(counts)
        total = positive.sum() * negative.sum()
        if total == 0:
            return np.nan
        above = np.cumsum(positive) - positive / 2.0
        return float(negative @ above / total)

    def _groups(
        self, counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positive and negative images of each group."""
        counts = counts[self._order]
        positive = counts * self._positive
        positive_groups = np.add.reduceat(positive, self._starts)
        return positive_groups, np.add.reduceat(counts - positive, self._starts)


def accuracy(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Share of images whose highest score is that of their class, in [0, 1].

    Raises:
        MetricError: as `RankedScores`; also for multi-label truth, which has no single answer.
    """
    return float((_answers(truth, scores) == truth).mean())


def label_accuracy(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Share of right decisions over all images and labels of a multi-label set, in [0, 1].

    MedMNIST's rule: each label is decided by itself at probability 1/2.

    Args:
        truth: 0/1 (N, C).
        scores: (N, C), log-probabilities of the labels.

    Raises:
        MetricError: as `RankedScores`.
    """
    table = class_members(truth, scores)
    return float(((scores > np.log(0.5)) == table).mean())


def recalls(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of each class's images that are recognised, float64 (C,); NaN without an image.

    Raises:
        MetricError: as `accuracy`.
    """
    answers = _answers(truth, scores)
    classes = range(scores.shape[1])
    of_class = [answers[truth == number] == number for number in classes]
    return np.array([each.mean() if each.size else np.nan for each in of_class])


def balanced_accuracy(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Unweighted mean of the classes' recalls, in [0, 1].

    Raises:
        MetricError: as `accuracy`, or a class without an image.
    """
    return _mean_over_classes(recalls(truth, scores), "recall")


def worst_class_recall(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """The lowest of the classes' recalls, in [0, 1].

    Raises:
        MetricError: as `balanced_accuracy`.
    """
    values = recalls(truth, scores)
    _mean_over_classes(values, "recall")
    return float(values.min())


def class_members(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> Table:
    """Which image is of which class, bool (N, C), checked against the scores (N, C).

    Raises:
        MetricError: see `RankedScores`.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or 0 in scores.shape:
        raise MetricError(f"scores must have shape (images, classes), got {scores.shape}.")
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise MetricError(
            f"{broken} of {len(scores)} rows of scores are not finite. Look for NaN in the "
            "features or in the classifier."
        )
    table = truth if truth.ndim == 2 else one_hot(truth, scores.shape[1])
    if table.shape != scores.shape:
        raise MetricError(
            f"truth of shape {truth.shape} does not fit scores of shape {scores.shape}: give a "
            "class number per image, or a 0/1 table of the scores' shape."
        )
    if not np.isin(table, (0, 1)).all():
        raise MetricError("a table of labels may hold zeros and ones only.")
    return table.astype(np.bool_)


def one_hot(labels: NDArray[np.integer], classes: int) -> Table:
    """Class numbers (N,) as bool (N, C).

    Raises:
        MetricError: not integers, or outside 0 to C - 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise MetricError(
            f"labels must be class numbers of shape (images,), got {labels.dtype} {labels.shape}."
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise MetricError(
            f"labels run from {labels.min()} to {labels.max()}, the classes from 0 to "
            f"{classes - 1}."
        )
    return labels[:, None] == np.arange(classes)


def class_numbers(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Position in `classes` of each label.

    Raises:
        MetricError: a label is not among the classes.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({label for label in labels if label not in numbers})
    if unknown:
        raise MetricError(
            f"labels {', '.join(map(repr, unknown[:5]))} are none of the {len(numbers)} classes "
            f"{', '.join(map(repr, classes[:20]))}."
        )
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def _answers(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> NDArray[np.int64]:
    if np.ndim(truth) != 1:
        raise MetricError("accuracy and recall need one class per image, not a table of labels.")
    class_members(truth, scores)
    return scores.argmax(axis=1)


def _mean_over_classes(values: NDArray[np.float64], metric: str) -> float:
    missing = np.flatnonzero(np.isnan(values)).tolist()
    if missing:
        raise MetricError(
            f"no {metric} for {len(missing)} of {len(values)} classes (numbers {missing[:10]}): "
            "the images have no example of them, or no other. Use a split with every class."
        )
    return float(values.mean())
