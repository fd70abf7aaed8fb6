from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from medbench.harness.errors import MetricError
from medbench.harness.probing import neighbours
from medbench.harness.probing.neighbours import NEIGHBOURS, TEMPERATURE, neighbour_scores


@pytest.fixture
def data(rng):
    labels = np.arange(150) % 3
    train = rng.normal(size=(150, 12)) + 2 * np.eye(12)[labels]
    return train.astype(np.float32), labels, rng.normal(size=(70, 12)).astype(np.float32)


def test_votes_are_those_of_scikit_learn(data):
    train, labels, test = data
    theirs = KNeighborsClassifier(
        NEIGHBOURS, metric="cosine", weights=lambda distance: np.exp(-distance / TEMPERATURE)
    )
    expected = theirs.fit(train, labels).predict_proba(test)
    np.testing.assert_allclose(neighbour_scores(train, labels, test), expected, atol=1e-5)


def test_do_not_depend_on_the_blocks(data, monkeypatch):
    whole = neighbour_scores(*data)
    monkeypatch.setattr(neighbours, "_QUERIES", 9)
    np.testing.assert_allclose(neighbour_scores(*data), whole, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, y, b: (a[:19], y[:19], b), "19 training images"),
        (lambda a, y, b: (a, y[:7], b), r"150 training images, labels of shape \(7,\)"),
        (lambda a, y, b: (a, y - 1, b), "labels run from -1"),
        (lambda a, y, b: (a, y, b[:, :3]), "sizes differ"),
        (lambda a, y, b: (a, y, np.where(np.arange(70)[:, None] < 2, 0, b)), "2 test images"),
        (lambda a, y, b: (a * np.nan, y, b), "not finite"),
    ],
)
def test_bad_input_is_refused(data, change, message):
    with pytest.raises(MetricError, match=message):
        neighbour_scores(*change(*data))


def test_labels_that_occur_together_are_voted_on_by_themselves(data):
    train, labels, test = data
    table = np.stack([labels == 0, labels < 2], axis=1).astype(int)
    found = neighbour_scores(train, table, test)
    for label in range(2):
        expected = neighbour_scores(train, table[:, label], test)[:, 1]
        np.testing.assert_allclose(found[:, label], expected, atol=1e-12)
