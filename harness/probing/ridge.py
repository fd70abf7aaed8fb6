"""Ridge regression on class membership: a probe in closed form, for judging during training.

One decomposition of the standardised training features gives the solution and its leave-one-out
errors for every penalty, so nothing is iterated, drawn or held back. Where the probe of the tables
(`linear`) fits a logistic regression, this one only approximates it: compare its values with each
other, not with those.

Sources: Hoerl, Kennard, "Ridge regression", Technometrics 12, 1970; Allen, "The relationship
between variable selection and data augmentation", Technometrics 16, 1974 (leave-one-out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..metrics.classification import RankedScores, balanced_accuracy, class_numbers, one_hot
from ..metrics.feature_sets import check_feature_sets
from ..vocabulary import MACRO
from .standardise import fit_standardisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PENALTIES: tuple[float, ...] = tuple(10.0**exponent for exponent in range(-7, 1))
"""Tried by leave-one-out; in units of a row's mean squared norm, which standardising makes 1."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbeSet:
    """Features of images and what they should tell.

    Attributes:
        features: float (N, d).
        labels: class of each image; classes belong to their group.
        groups: group of each image, such as its modality: a probe is fitted within each.
    """

    features: NDArray[np.floating]
    labels: Sequence[str]
    groups: Sequence[str]

    def __post_init__(self) -> None:
        counts = len(self.features), len(self.labels), len(self.groups)
        if len(set(counts)) != 1:
            raise MetricError(
                "a probe needs a label and a group per image: got {} rows of features, {} labels "
                "and {} groups.".format(*counts)
            )

    def of_group(self, group: str) -> tuple[NDArray[np.floating], list[str]]:
        """Features and labels of one group."""
        rows = [row for row, name in enumerate(self.groups) if name == group]
        return self.features[rows], [self.labels[row] for row in rows]


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """What a probe reached on the test images.

    Attributes:
        mean_average_precision: over the classes, both of a binary set included, in [0, 1].
        auc: MedMNIST's rule, in [0, 1].
        balanced_accuracy: in [0, 1].
        chance: the mean average precision of scores that say nothing: one over the classes.
        penalty: that leave-one-out chose; NaN in a mean over groups.
    """

    mean_average_precision: float
    auc: float
    balanced_accuracy: float
    chance: float
    penalty: float


def fast_probe(train: ProbeSet, test: ProbeSet) -> dict[str, ProbeScores]:
    """Fit a ridge probe within each group and score it; the same input gives the same values.

    Args:
        train: images to fit on, at least two classes in each group.
        test: other images; of each of its groups, every class that training images have.

    Returns:
        Scores of each group of `test`, alphabetically, and their unweighted mean as ``macro``.

    Raises:
        MetricError: no images, a group that has no training images or only one class, a class
            that one of the two sets lacks, or features that are not finite.
    """
    groups = sorted(set(test.groups))
    if not groups:
        raise MetricError("no test images to probe.")
    found = {name: _probe_group(name, train, test) for name in groups}
    values = [
        [each.mean_average_precision, each.auc, each.balanced_accuracy, each.chance]
        for each in found.values()
    ]
    return found | {MACRO: ProbeScores(*np.mean(values, axis=0).tolist(), penalty=np.nan)}


def _probe_group(group: str, train: ProbeSet, test: ProbeSet) -> ProbeScores:
    features, labels = train.of_group(group)
    test_features, test_labels = test.of_group(group)
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise MetricError(f"{group}: training images of {len(classes)} classes; a probe needs two.")
    check_feature_sets(features, test_features)
    truth = class_numbers(test_labels, classes)
    standard = fit_standardisation(features)
    targets = one_hot(class_numbers(labels, classes), len(classes)).astype(np.float64)
    fitted = fit_ridge(standard.apply(features), targets)
    scores = standard.apply(test_features) @ fitted.coefficients + fitted.intercept
    ranked = RankedScores(truth, scores)
    return ProbeScores(
        ranked.mean_average_precision(),
        ranked.mean_auc(),
        balanced_accuracy(truth, scores),
        1.0 / len(classes),
        fitted.penalty,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A fitted regression: ``features @ coefficients + intercept``.

    Attributes:
        coefficients: float64 (d, C).
        intercept: float64 (C,), not penalised.
        penalty: that leave-one-out chose.
    """

    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    penalty: float


def fit_ridge(
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Minimise ``mean ‖target - prediction‖² + penalty ‖coefficients‖²``.

    The penalty is the one with the smallest squared leave-one-out error, the largest of equals.

    Args:
        features: (n, d), each with mean 0.
        targets: (n, C).
        penalties: positive.
    """
    count = len(features)
    intercept = targets.mean(axis=0)
    centred = targets - intercept
    left, squares = _left_vectors(features)
    rotated = left.T @ centred
    best, best_error = penalties[0], np.inf
    for penalty in sorted(penalties, reverse=True):
        shrinkage = squares / (squares + count * penalty)
        residual = centred - left @ (shrinkage[:, None] * rotated)
        leverage = 1.0 / count + np.square(left) @ shrinkage
        error = float(np.square(residual / (1.0 - leverage)[:, None]).sum())
        if error < best_error:
            best, best_error = penalty, error
    dual = left @ (rotated / (squares + count * best)[:, None])
    return Ridge(features.T @ dual, intercept, best)


def _left_vectors(
    features: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left singular vectors (n, r) and squared singular values (r,), without the null space."""
    count, dims = features.shape
    wide = count <= dims
    squares, vectors = np.linalg.eigh(features @ features.T if wide else features.T @ features)
    kept = squares > squares[-1] * 1e-12
    squares, vectors = squares[kept], vectors[:, kept]
    return (vectors if wide else features @ vectors / np.sqrt(squares)), squares
