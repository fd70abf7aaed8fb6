from __future__ import annotations

import itertools

import numpy as np
import pytest

from medbench.harness.errors import MetricError
from medbench.harness.probing.subsets import label_subset

STRATA = ["a"] * 120 + ["b"] * 60 + ["c"] * 3


def subset(fraction, draw=0, fingerprint="f"):
    return label_subset(STRATA, fraction, fingerprint=fingerprint, draw=draw)


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [(0.01, (2, 1, 1)), (0.05, (6, 3, 1)), (0.1, (12, 6, 1)), (1.0, (120, 60, 3))],
)
def test_classes_keep_their_proportions_and_none_is_lost(fraction, counts):
    names = np.array(STRATA)[subset(fraction)]
    assert tuple((names == name).sum() for name in "abc") == counts


def test_a_smaller_subset_lies_in_a_larger_one():
    sets = [set(subset(fraction).tolist()) for fraction in (0.01, 0.05, 0.1, 0.5, 1)]
    assert all(small < large for small, large in itertools.pairwise(sets))


def test_draws_differ_repeat_and_depend_on_the_data():
    assert subset(0.1).tolist() == subset(0.1).tolist()
    assert subset(0.1, draw=1).tolist() != subset(0.1).tolist()
    assert subset(0.1, fingerprint="g").tolist() != subset(0.1).tolist()


def test_every_image_is_as_likely_as_another():
    counts = np.zeros(len(STRATA))
    for draw in range(400):
        counts[subset(0.1, draw=draw)] += 1
    # Binomial(400, 0.1): mean 40, standard deviation 6.
    assert abs(counts[:120] - 40).max() < 5 * 6


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.2, float("nan")])
def test_other_fractions_are_refused(fraction):
    with pytest.raises(MetricError, match=r"must be in \(0, 1\]"):
        subset(fraction)
