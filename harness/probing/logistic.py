"""Logistic regression with an L2 penalty, along a path of penalties, solved to the optimum.

Minimises ``mean loss + penalty / 2 · ‖coefficients‖²`` over standardised features; intercepts are
not penalised. The loss of an image is softmax cross-entropy over its classes (multinomial, two
classes included), or for multi-label sets the sum of the labels' binary cross-entropies, which are
then independent problems. In nats.

scikit-learn's C is 1 / (n · penalty); its binary form has one coefficient vector instead of two
opposite ones, so that there C is 2 / (n · penalty).

Source: Liu, Nocedal, "On the limited memory BFGS method for large scale optimization",
Mathematical Programming 45, 1989, here SciPy's; started from the next stronger penalty's optimum,
in variables scaled to equal curvature (see `design`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from .design import make_design

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .design import Design
    from .standardise import Standardisation

logger = logging.getLogger(__name__)

GRADIENT_TOLERANCE = 1e-5
"""Of the largest slope, nats per unit of a variable with curvature near 1: the loss is then within
half of its square times the number of variables of the optimum, 1e-6 for ten thousand of them."""

STEPS = 1000
LEAST_CURVATURE = 1e-6
"""Assumed of a fit that is sure of every image: variables must stay comparable."""

MEMORY = 20
"""Pairs of steps and slopes that L-BFGS keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """The optimum for one penalty.

    Attributes:
        penalty: of the squared coefficients.
        coefficients: float64 (d, C), of standardised features.
        intercept: float64 (C,).
        objective: mean loss plus penalty term, nats.
    """

    penalty: float
    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    objective: float


def fit_path(
    features: NDArray[np.floating],
    standard: Standardisation,
    table: NDArray[np.bool_],
    penalties: Sequence[float],
    *,
    multi_label: bool = False,
) -> list[LogisticFit]:
    """Fit every penalty, from the strongest to the weakest.

    Args:
        features: float (n, d), in memory or memory-mapped.
        standard: of these features.
        table: bool (n, C), the classes or labels of each row; every column holds somewhere, and
            with several labels also fails somewhere: without that there is no optimum.
        penalties: positive.
        multi_label: columns are independent labels instead of classes of which one holds.

    Returns:
        A fit per penalty, strongest first.
    """
    design = make_design(features, standard)
    problem = _Problem(design, table.astype(np.float64), multi_label=multi_label)
    classes = table.shape[1]
    start = np.zeros((len(design.squares), classes)), np.zeros(classes)
    found = []
    for penalty in sorted(penalties, reverse=True):
        variables, intercept, objective = problem.solve(penalty, *start)
        found.append((penalty, variables, intercept, objective))
        start = variables, intercept
        if len(found) > 1:
            # Fits that get sure grow with the logarithm of the penalty: start where that leads.
            start = 2 * variables - found[-2][1], 2 * intercept - found[-2][2]
    # All penalties in one product: it may have to read every feature of every training image.
    stacked = design.to_coefficients(np.concatenate([each[1] for each in found], axis=1))
    parts = np.split(stacked, len(found), axis=1)
    return [
        LogisticFit(penalty, part, intercept, objective)
        for part, (penalty, _, intercept, objective) in zip(parts, found, strict=True)
    ]


def log_probabilities(
    logits: NDArray[np.float64], *, multi_label: bool = False
) -> NDArray[np.float64]:
    """Log-probabilities (N, C) of classes, or of each label."""
    if multi_label:
        return -np.logaddexp(0.0, -logits)
    # Written out: SciPy's logsumexp takes as long as the products of a small problem.
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class _Problem:
    def __init__(self, design: Design, targets: NDArray[np.float64], *, multi_label: bool) -> None:
        self._design, self._targets, self._multi_label = design, targets, multi_label
        self._count, self._classes = targets.shape

    def solve(
        self, penalty: float, variables: NDArray[np.float64], intercept: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """The optimum of one penalty, from a start: variables (r, C), intercept, objective."""
        in_logits = self._curvature(variables, intercept)
        curvature = in_logits * self._design.squares / self._count + penalty
        scale = 1.0 / np.sqrt(np.append(curvature, in_logits))[:, None]

        def scaled(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            both = flat.reshape(-1, self._classes) * scale
            value, slope = self._objective(both[:-1], both[-1], penalty)
            return value, (slope * scale).ravel()

        start = np.vstack([variables, intercept]) / scale
        options = {
            "maxiter": STEPS,
            "maxfun": 2 * STEPS,
            "maxcor": MEMORY,
            "gtol": GRADIENT_TOLERANCE,
            "ftol": 64 * np.finfo(np.float64).eps,
        }
        result = minimize(scaled, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        if not result.success:
            logger.warning("logistic regression, penalty %g: %s", penalty, result.message)
        both = result.x.reshape(-1, self._classes) * scale
        return both[:-1], both[-1], float(result.fun)

    def _curvature(self, variables: NDArray[np.float64], intercept: NDArray[np.float64]) -> float:
        """Mean second derivative of an image's loss in a logit; it falls as the fit gets sure."""
        total = 0.0
        for _, _, products in self._design.blocks(variables):
            logs = log_probabilities(products + intercept, multi_label=self._multi_label)
            probabilities = np.exp(logs)
            total += float((probabilities * (1.0 - probabilities)).sum())
        return max(total / self._targets.size, LEAST_CURVATURE)

    def _objective(
        self, variables: NDArray[np.float64], intercept: NDArray[np.float64], penalty: float
    ) -> tuple[float, NDArray[np.float64]]:
        """The value and its slopes, (r + 1, C), the intercept's last."""
        loss, slope, offset = 0.0, 0.0, np.zeros(self._classes)
        for place, rows, products in self._design.blocks(variables):
            part, residual = self._loss(products + intercept, self._targets[place])
            loss += part
            # In this order the rows are read as they lie in memory.
            slope = slope + (residual.T @ rows).T
            offset += residual.sum(axis=0)
        slope = self._design.to_variables(np.asarray(slope)) / self._count + penalty * variables
        value = loss / self._count + 0.5 * penalty * float(np.vdot(variables, variables))
        return value, np.vstack([slope, offset / self._count])

    def _loss(
        self, logits: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Summed loss of a block and its slope in the logits, (m, C)."""
        if self._multi_label:
            loss = np.logaddexp(0.0, logits).sum() - np.vdot(targets, logits)
            return float(loss), expit(logits) - targets
        logs = log_probabilities(logits)
        return -float(np.vdot(targets, logs)), np.exp(logs) - targets
