from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from medbench.harness.errors import MetricError
from medbench.harness.probing import standardise
from medbench.harness.probing.standardise import fit_standardisation, row_blocks


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_is_scikit_learns_over_the_root_of_the_number_of_features(rng, dtype):
    train = (rng.normal(size=(50, 9)) * rng.uniform(0.1, 9, 9) + 4).astype(dtype)
    test = rng.normal(size=(20, 9)).astype(dtype)
    expected = StandardScaler().fit(train.astype(np.float64)).transform(test.astype(np.float64)) / 3
    np.testing.assert_allclose(fit_standardisation(train).apply(test), expected, atol=1e-10)


@pytest.mark.parametrize("dims", [2, 300])
def test_rows_have_mean_squared_norm_one_whatever_their_length(rng, dims):
    train = rng.normal(size=(80, dims)) * 7 + 1
    rows = fit_standardisation(train).apply(train)
    assert np.square(rows).sum(axis=1).mean() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
def test_a_constant_feature_says_nothing_of_any_image(rng, value):
    train = rng.normal(size=(1000, 2)).astype(np.float32)
    train[:, 1] = value
    train[::3, 1] *= 1 + 2e-7  # rounding of a network in float32
    standard = fit_standardisation(train)
    assert standard.factor[1] == 0
    assert standard.apply(np.array([[0.0, 12.0]]))[0, 1] == 0
    assert standard.factor[0] > 0


def test_does_not_depend_on_the_blocks(rng, monkeypatch):
    train = rng.normal(size=(101, 6)).astype(np.float32)
    whole = fit_standardisation(train)
    monkeypatch.setattr(standardise, "BLOCK_BYTES", 8 * 6 * 7)
    parts = fit_standardisation(train)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(parts.factor, whole.factor, rtol=1e-12)
    blocks = list(parts.blocks(train))
    assert max(len(rows) for _, rows in blocks) == 7
    np.testing.assert_allclose(np.concatenate([rows for _, rows in blocks]), whole.apply(train))


@pytest.mark.parametrize(("count", "dims"), [(1, 1), (5, 10**9), (1000, 16_384)])
def test_blocks_cover_every_row_once(count, dims):
    blocks = row_blocks(count, dims)
    assert [row for block in blocks for row in range(count)[block]] == list(range(count))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(MetricError, match="1 of 3 rows are not finite"):
        fit_standardisation(np.array([[1.0], [np.inf], [2.0]]))
