"""The ways to probe one group: from features to scores of its test images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.probing.adam import adam_scores
from ...harness.probing.linear import Labelled, fit_linear_probe
from ...harness.probing.neighbours import neighbour_scores
from ...harness.probing.subsets import label_subset
from .definitions import FRACTIONS, LABEL_DRAWS, LARGE, PAPER_METRICS
from .pool import paper_pool
from .scoring import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .groups import Group
    from .splits import Part


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """One group with one kind of features.

    Attributes:
        group: images and classes.
        features: float32 (n, d) of each part's images, memory-mapped where they lie together.
    """

    group: Group
    features: Mapping[str, NDArray[np.float32]]

    def labelled(self, part: str) -> Labelled:
        """Features and truth of a part."""
        return Labelled(self.features[part], self.group.truth[part])


def rows_of(features: NDArray[np.float32], part: Part) -> NDArray[np.float32]:
    """The rows of a part: a view where they lie together, else a copy."""
    rows = part.rows
    if rows[-1] - rows[0] + 1 == len(rows):
        return features[rows[0] : rows[-1] + 1]
    return features[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What `lp-val` chose, and what came of it.

    Attributes:
        scores: float64 (N, C), log-probabilities of the test images.
        penalty: of the grid.
    """

    scores: NDArray[np.float64]
    penalty: float


def lp_val(probed: Probed) -> Choice:
    """Fit on train, choose on val, score test once."""
    probe = fit_linear_probe(probed.labelled("train"), probed.labelled("val"))
    return Choice(probe.scores(probed.features["test"]), probe.fit.penalty)


def nearest(probed: Probed) -> NDArray[np.float64]:
    """Votes of the nearest training images, float64 (N, C)."""
    train = probed.labelled("train")
    votes = neighbour_scores(train.features, train.truth, probed.features["test"])
    if probed.group.multi_label:
        # As log-probabilities, which decide at one half.
        return np.log(np.maximum(votes, np.finfo(np.float64).tiny))
    return votes


def with_part_of_labels(probed: Probed, setting: str, fingerprint: str) -> list[Scored]:
    """`lp-val` on several draws of a part of the training images."""
    train, group = probed.labelled("train"), probed.group
    strata = group.strata("train")
    fraction = FRACTIONS[setting]
    draws = LABEL_DRAWS if fraction * len(strata) <= LARGE else 1
    found = []
    for draw in range(draws):
        rows = label_subset(strata, fraction, fingerprint=f"{fingerprint}/{group.name}", draw=draw)
        subset = Labelled(train.features[rows], train.truth[rows])
        probe = fit_linear_probe(subset, probed.labelled("val"))
        scores = probe.scores(probed.features["test"])
        found.append(Scored(group.truth["test"], scores))
    return found


@dataclass(frozen=True, slots=True)
class Peaks:
    """The best value of each metric over the epochs, mean over the seeds.

    Attributes:
        values: by metric.
        pool: images that were scored.
    """

    values: Mapping[str, float]
    pool: int


def lp_paper(probed: Probed, *, dataset_id: str, seeds: range) -> Peaks:
    """Adam, and the best epoch on the images that it is scored on."""
    pool = paper_pool(probed.group, dataset_id)
    truth = np.concatenate([probed.group.truth[part][rows] for part, rows in pool.items()])
    # Only these are read of the map.
    features = np.concatenate([probed.features[part][rows] for part, rows in pool.items()])
    runs = [_peaks(probed, truth, features, seed) for seed in seeds]
    values = {name: float(np.mean([run[name] for run in runs])) for name in PAPER_METRICS}
    return Peaks(values, len(truth))


def _peaks(
    probed: Probed, truth: NDArray[np.int64], features: NDArray[np.float32], seed: int
) -> dict[str, float]:
    text = f"{seed}\0{probed.group.name}".encode()
    own_seed = int.from_bytes(hashlib.sha256(text).digest()[:7], "little")
    best: dict[str, float] = dict.fromkeys(PAPER_METRICS, -np.inf)
    for scores in adam_scores(probed.labelled("train"), features, seed=own_seed):
        logs = -np.logaddexp(0.0, -scores) if probed.group.multi_label else scores
        scored = Scored(truth, logs)
        for name in PAPER_METRICS:
            statistic = scored.statistic(name)
            assert callable(statistic), "the paper's metrics exist for all sets"
            best[name] = max(best[name], statistic(None))
    if not np.isfinite(list(best.values())).all():
        raise MetricError(f"{probed.group.name}: a class has no image among {len(truth)} scored.")
    return best
