"""The L2 path of a linear probe against cold fits of scikit-learn, and bootstrap against it.

The shape is that of RetinaMNIST under MedITok's grid: 1,080 images, 16,384 features, 5 classes.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from timing import compare

from medbench.harness.metrics.classification import RankedScores, one_hot
from medbench.harness.probing.linear import PENALTIES
from medbench.harness.probing.logistic import fit_path
from medbench.harness.probing.standardise import fit_standardisation

IMAGES, DIMS, CLASSES = 1080, 16_384, 5
STEPS = 200
"""Of scikit-learn's solver at most, as a user would set it; ours runs to the optimum."""
DRAWS = 200


def make_features(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features that lie near a plane of 64 dimensions, as a network's do, and their classes."""
    labels = rng.integers(0, CLASSES, IMAGES)
    centres = 0.3 * rng.standard_normal((CLASSES, 64))
    latent = centres[labels] + rng.standard_normal((IMAGES, 64))
    plane = rng.standard_normal((64, DIMS)) / 8
    features = latent @ plane + 0.5 * rng.standard_normal((IMAGES, DIMS))
    return features.astype(np.float32), labels


def by_scikit_learn(features: np.ndarray, labels: np.ndarray) -> list[LogisticRegression]:
    """One cold fit per penalty, of features with unit spread, as users scale them."""
    scaled = StandardScaler().fit_transform(features)
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in PENALTIES:
            strength = 1 / (len(labels) * penalty * features.shape[1])
            model = LogisticRegression(C=strength, max_iter=STEPS)
            fits.append(model.fit(scaled, labels))
    return fits


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    features, labels = make_features(rng)
    table = one_hot(labels, CLASSES)
    compare(
        f"L2 path of {len(PENALTIES)}, n = {IMAGES}, d = {DIMS}",
        {
            "scikit-learn, cold": lambda: by_scikit_learn(features, labels),
            "medbench": lambda: fit_path(features, fit_standardisation(features), table, PENALTIES),
        },
        peer="scikit-learn, cold",
        rounds=1,
    )
    scores = rng.normal(size=(624, 9))
    truth = np.arange(624) % 9
    members, ranked = one_hot(truth, 9), RankedScores(truth, scores)
    draws = rng.integers(0, 624, (DRAWS, 624))
    compare(
        f"mAP of {DRAWS} resamples of 624 images, 9 classes",
        {
            "scikit-learn": lambda: [
                average_precision_score(members[rows], scores[rows]) for rows in draws
            ],
            "medbench": lambda: [ranked.mean_average_precision(rows) for rows in draws],
        },
        peer="scikit-learn",
    )


if __name__ == "__main__":
    main()
