from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import MetricError
from medbench.harness.metrics import kid as kid_module
from medbench.harness.metrics.kid import kid, kid_over_subsets


def by_torchmetrics(x, y):
    module = pytest.importorskip("torchmetrics.image.kid")
    return float(module.poly_mmd(torch.from_numpy(x).double(), torch.from_numpy(y).double()))


def by_definition(x, y):
    d = x.shape[1]
    k = lambda a, b: (a @ b.T / d + 1.0) ** 3  # noqa: E731
    xx, yy = k(x, x), k(y, y)
    n, m = len(x), len(y)
    within_x = (xx.sum() - np.trace(xx)) / (n * (n - 1))
    within_y = (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within_x + within_y - 2 * k(x, y).mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_torchmetrics_on_one_subset_of_all(rng, dtype):
    x = rng.normal(size=(90, 40)).astype(dtype)
    y = (rng.normal(size=(90, 40)) + 0.2).astype(dtype)
    assert kid(x, y) == pytest.approx(by_torchmetrics(x, y), rel=1e-9)


def test_agrees_with_the_definition_at_unequal_sizes(rng):
    x, y = rng.normal(size=(70, 16)), rng.normal(size=(110, 16)) * 1.2
    assert kid(x, y) == pytest.approx(by_definition(x, y), rel=1e-9)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_does_not_depend_on_the_blocks(rng, monkeypatch, block):
    x, y = rng.normal(size=(30, 8)), rng.normal(size=(23, 8)) + 0.3
    monkeypatch.setattr(kid_module, "BLOCK", block)
    assert kid(x, y) == pytest.approx(by_definition(x, y), rel=1e-10)


def test_is_unbiased_for_independent_sets_of_one_distribution(rng):
    values = np.array([kid(*rng.normal(size=(2, 25, 6))) for _ in range(600)])
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * standard_error
    assert (values < 0).any()


def test_a_perfect_copy_scores_below_zero_by_the_pairs_with_themselves(rng):
    x = rng.normal(size=(50, 6))
    kernel = (x @ x.T / 6 + 1.0) ** 3
    off = (kernel.sum() - np.trace(kernel)) / (50 * 49)
    assert kid(x, x) == pytest.approx(-2 * (np.trace(kernel) / 50 - off) / 50, rel=1e-9)


def test_grows_with_a_shift(rng):
    x, y = rng.normal(size=(2, 100, 8))
    values = [kid(x, y + shift) for shift in (0.0, 0.2, 0.5, 1.0)]
    assert values == sorted(values)


def test_all_subsets_in_one_pass_equal_each_alone(rng, monkeypatch):
    x = rng.normal(size=(41, 8))
    y = x + 0.3 * rng.normal(size=x.shape) + 0.1
    subsets = np.array([rng.permutation(41)[:20] for _ in range(5)])
    want = [by_definition(x[rows], y[rows]) for rows in subsets]
    monkeypatch.setattr(kid_module, "BLOCK", 16)
    np.testing.assert_allclose(kid_over_subsets(x, y, subsets), want, rtol=1e-9)


@pytest.mark.parametrize("subsets", [[[1, 1, 2]], [[3]]])
def test_refuses_subsets_that_are_too_small_or_repeat_an_image(rng, subsets):
    x = rng.normal(size=(6, 3))
    with pytest.raises(MetricError, match="at least two rows"):
        kid_over_subsets(x, x, np.array(subsets))


def test_refuses_subsets_of_sets_that_are_no_pairs(rng):
    x = rng.normal(size=(6, 3))
    with pytest.raises(MetricError, match="6 reference rows and 5 candidate rows"):
        kid_over_subsets(x, x[1:], np.array([[0, 1]]))


def test_refuses_values_that_are_not_finite(rng):
    x = rng.normal(size=(6, 3))
    y = x.copy()
    y[0, 0] = np.nan
    with pytest.raises(MetricError, match="1 of 6 rows"):
        kid(x, y)
