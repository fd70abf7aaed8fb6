"""Precision, recall, density and coverage against their definitions, written out image by image."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.errors import MetricError
from medbench.harness.metrics.prdc import nearest, prdc


def _by_definition(real, fake, k):
    def radius(points, i):
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]

    r_real = [radius(real, i) for i in range(len(real))]
    r_fake = [radius(fake, j) for j in range(len(fake))]
    distance = np.linalg.norm(real[:, None] - fake[None], axis=2)
    inside = distance < np.array(r_real)[:, None]
    return (
        inside.any(axis=0).mean(),
        (distance < np.array(r_fake)[None]).any(axis=1).mean(),
        inside.sum() / (k * len(fake)),
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize(("n", "m", "shift", "k"), [(40, 30, 0.3, 5), (600, 520, 0.0, 3)])
def test_follows_the_definitions(rng, n, m, shift, k):
    real, fake = rng.normal(size=(n, 6)), rng.normal(size=(m, 6)) * 0.8 + shift
    found = prdc(real, fake, neighbours=k)
    got = (found.precision, found.recall, found.density, found.coverage)
    assert got == pytest.approx(_by_definition(real, fake, k), abs=1e-12)


def test_far_away_sets_share_nothing(rng):
    found = prdc(rng.normal(size=(20, 4)), rng.normal(size=(20, 4)) + 100)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_copies_of_the_real_images_are_all_covered(rng):
    real = rng.normal(size=(50, 4))
    found = prdc(real, real.copy())
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (np.zeros((5, 3)), np.zeros((9, 3)), "at least 6 images"),
        (np.zeros((9, 3)), np.full((9, 3), np.nan), "9 of 9 rows"),
        (np.zeros((9, 3)), np.zeros((9, 4)), "sizes differ"),
    ],
)
def test_refuses_what_gives_no_number(real, fake, words):
    with pytest.raises(MetricError, match=words):
        prdc(real, fake)


@pytest.mark.parametrize("count", [31, 512, 1025])
def test_nearest_is_the_smallest_distance(rng, count):
    queries, others = rng.normal(size=(70, 5)), rng.normal(size=(count, 5))
    distances = np.linalg.norm(queries[:, None] - others[None], axis=2)
    rows, found = nearest(queries, others)
    assert np.array_equal(rows, distances.argmin(axis=1))
    np.testing.assert_allclose(found, distances.min(axis=1), rtol=1e-9)


def test_nearest_looks_among_the_given_rows_only(rng):
    queries, others = rng.normal(size=(8, 5)), rng.normal(size=(40, 5))
    rows = np.array([3, 17, 5])
    found, distances = nearest(queries, others, rows)
    wanted = np.linalg.norm(queries[:, None] - others[rows][None], axis=2)
    assert np.array_equal(found, rows[wanted.argmin(axis=1)])
    np.testing.assert_allclose(distances, wanted.min(axis=1), rtol=1e-9)
