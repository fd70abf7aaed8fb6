"""`lp-val`, the linear probe of the tables: leak-free, deterministic, without a learning rate.

Standardised features, multinomial logistic regression with an L2 penalty (independent binary
problems for multi-label sets). The penalty is the one of a fixed grid of eight with the highest
AUC on validation images; the classifier is the one fitted on training images only. Nothing here
sees a test image: a probe is made first, and asked for scores afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..metrics.classification import RankedScores, class_members
from ..metrics.feature_sets import check_feature_sets, check_features
from .logistic import LogisticFit, fit_path, log_probabilities
from .standardise import Standardisation, fit_standardisation, row_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PENALTIES: tuple[float, ...] = tuple(10.0**exponent for exponent in range(-8, 0))
"""Of the squared coefficients of standardised features, whose rows have mean squared norm 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Features of images and their classes.

    Attributes:
        features: float (N, d), in memory or memory-mapped.
        truth: int (N,), class numbers 0 to C - 1; or 0/1 (N, C), the labels that hold.
    """

    features: NDArray[np.floating]
    truth: NDArray[np.integer]

    def __post_init__(self) -> None:
        truth = self.truth
        whole = np.issubdtype(truth.dtype, np.integer) or truth.dtype == np.bool_
        if not whole or truth.ndim not in (1, 2) or len(truth) != len(self.features):
            raise MetricError(
                f"{len(self.features)} rows of features need as many class numbers or rows of a "
                f"0/1 table, got {truth.dtype} {truth.shape}."
            )

    @property
    def multi_label(self) -> bool:
        """Whether several labels may hold for an image."""
        return self.truth.ndim == 2


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A fitted probe and how it was chosen.

    Attributes:
        fit: the chosen penalty's optimum.
        validation_aucs: AUC on the validation images by penalty.
        standard: of the training features.
        multi_label: whether scores are of independent labels.
    """

    fit: LogisticFit
    validation_aucs: dict[float, float]
    standard: Standardisation
    multi_label: bool

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log-probabilities (N, C) of the classes, or of each label, for features (N, d).

        Raises:
            MetricError: features of another size, or not finite.
        """
        check_features(features)
        if features.shape[1] != len(self.standard.mean):
            raise MetricError(
                f"the probe was fitted on {len(self.standard.mean)} features per image, got "
                f"{features.shape[1]}. Use features of one tokenizer and kind."
            )
        (scores,) = _scores_of([self.fit], self.standard, features, multi_label=self.multi_label)
        return scores


def fit_linear_probe(
    train: Labelled, validation: Labelled, *, penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Fit on `train` for every penalty, and keep the one that `validation` favours.

    Of equal AUCs the strongest penalty wins. Time for 2,000 images, 512 features and nine
    classes: about a second.

    Args:
        train: every class occurs; in multi-label sets every label holds somewhere and fails
            somewhere.
        validation: likewise; other images.
        penalties: positive, the grid.

    Raises:
        MetricError: a class that one of the two sets lacks, features of unequal size or not
            finite, labels of another form.
    """
    check_feature_sets(train.features, validation.features)
    if train.multi_label != validation.multi_label:
        raise MetricError("training truth and validation truth must have the same form.")
    table = _table(train)
    standard = fit_standardisation(train.features)
    multi_label = train.multi_label
    fits = fit_path(train.features, standard, table, penalties, multi_label=multi_label)
    scores = _scores_of(fits, standard, validation.features, multi_label=multi_label)
    aucs = [RankedScores(validation.truth, each).mean_auc() for each in scores]
    best = fits[int(np.argmax(aucs))]
    by_penalty = {fit.penalty: auc for fit, auc in zip(fits, aucs, strict=True)}
    return LinearProbe(best, by_penalty, standard, multi_label)


def _table(train: Labelled) -> NDArray[np.bool_]:
    """Truth as bool (N, C), with at least one image for and against each class."""
    truth = train.truth
    classes = truth.shape[1] if train.multi_label else int(truth.max()) + 1
    table = class_members(truth, np.zeros((len(truth), classes)))
    held = table.sum(axis=0)
    empty = np.flatnonzero((held == 0) | (held == len(table))).tolist()
    if empty:
        raise MetricError(
            f"training images have no example of, or nothing but, classes {empty[:10]} of "
            f"{classes}: a classifier for them has no optimum."
        )
    return table


def _scores_of(
    fits: Sequence[LogisticFit],
    standard: Standardisation,
    features: NDArray[np.floating],
    *,
    multi_label: bool,
) -> list[NDArray[np.float64]]:
    """Log-probabilities (N, C) by each fit, reading the features once."""
    coefficients = np.concatenate([fit.coefficients for fit in fits], axis=1)
    logits = np.empty((len(features), coefficients.shape[1]))
    for rows in row_blocks(*features.shape):
        logits[rows] = standard.apply(features[rows]) @ coefficients
    parts = np.split(logits, len(fits), axis=1)
    return [
        log_probabilities(part + fit.intercept, multi_label=multi_label)
        for part, fit in zip(parts, fits, strict=True)
    ]
