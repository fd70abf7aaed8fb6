"""k-nearest-neighbour classification: a check of features that fits nothing.

A neighbour votes for its class with weight ``exp(cosine similarity / 0.07)``; k is 20.

Source: Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR
2018, section 3.4, with the constants that DINO (Caron et al., ICCV 2021) reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..metrics.classification import one_hot
from ..metrics.feature_sets import check_feature_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 20
TEMPERATURE = 0.07

_QUERIES = 1024
"""Images that are compared with all training images at once."""


def neighbour_scores(
    train: NDArray[np.floating], labels: NDArray[np.integer], test: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Share of the votes that each class gets, float64 (N, C), rows of classes summing to 1.

    Args:
        train: float (n, d), at least `NEIGHBOURS` rows, none of them all zeros.
        labels: int (n,), class numbers from 0; or 0/1 (n, C), the labels that hold.
        test: float (N, d), none of the rows all zeros.

    Raises:
        MetricError: too few training images, labels of another form or number, features of
            unequal size, not finite, or without a direction.
    """
    check_feature_sets(train, test)
    if len(train) < NEIGHBOURS:
        raise MetricError(
            f"{len(train)} training images; {NEIGHBOURS} neighbours need at least as many."
        )
    if np.ndim(labels) not in (1, 2) or len(labels) != len(train):
        raise MetricError(f"{len(train)} training images, labels of shape {np.shape(labels)}.")
    table = labels if labels.ndim == 2 else one_hot(labels, int(labels.max()) + 1)
    members = table.astype(np.float64)
    directions = _directions(train, "training")
    votes = np.empty((len(test), members.shape[1]))
    totals = np.empty((len(test), 1))
    for start in range(0, len(test), _QUERIES):
        similarity = _directions(test[start : start + _QUERIES], "test") @ directions.T
        # Equal similarities go to the image that comes first, so that repeats agree.
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
        weights = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1.0) / TEMPERATURE)
        votes[start : start + _QUERIES] = np.einsum("qk,qkc->qc", weights, members[nearest])
        totals[start : start + _QUERIES] = weights.sum(axis=1, keepdims=True)
    return votes / totals


def _directions(features: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    empty = int((lengths == 0).sum())
    if empty:
        raise MetricError(f"{empty} {name} images have features of length 0: no direction.")
    rows /= lengths
    return rows
