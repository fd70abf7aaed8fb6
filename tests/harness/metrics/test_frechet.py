from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.linalg

from medbench.harness.errors import MetricError
from medbench.harness.metrics.feature_sets import is_rank_deficient, require_enough_images
from medbench.harness.metrics.frechet import (
    FeatureStatistics,
    fit_statistics,
    frechet_distance,
    frechet_from_statistics,
    frechet_over_subsets,
)


def by_matrix_square_root(x, y):
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    gap = x.mean(axis=0) - y.mean(axis=0)
    return gap @ gap + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root).real


def by_eigenvalues(x, y):
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(cov_x @ cov_y).astype(complex)).real.sum()
    gap = x.mean(axis=0) - y.mean(axis=0)
    return gap @ gap + np.trace(cov_x) + np.trace(cov_y) - 2 * root


def correlated(rng, n, d, shift=0.0):
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift


def test_agrees_with_the_closed_form_in_one_dimension(rng):
    x, y = rng.normal(0, 2, (400, 1)), rng.normal(3, 5, (300, 1))
    want = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(want, rel=1e-10)


def test_agrees_with_the_closed_form_of_diagonal_gaussians():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    reference = FeatureStatistics(np.zeros(3), np.diag(a), 1000)
    candidate = FeatureStatistics(np.array([1.0, 2.0, 2.0]), np.diag(b), 1000)
    want = 9.0 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_from_statistics(reference, candidate) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (300, 65), (65, 65)])
def test_agrees_with_the_matrix_square_root_where_covariances_have_full_rank(rng, n, m):
    x, y = correlated(rng, n, 64), correlated(rng, m, 64, 0.1)
    assert frechet_distance(x, y) == pytest.approx(by_matrix_square_root(x, y), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (64, 64), (20, 200), (200, 20)])
def test_agrees_with_eigenvalues_where_covariances_are_singular(rng, n, m):
    x, y = correlated(rng, n, 64), correlated(rng, m, 64, 0.1)
    assert frechet_distance(x, y) == pytest.approx(by_eigenvalues(x, y), rel=1e-6)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_agrees_with_the_package_that_users_know(rng):
    score = pytest.importorskip("pytorch_fid.fid_score")
    x, y = correlated(rng, 300, 48), correlated(rng, 250, 48, 0.1)
    a, b = fit_statistics(x), fit_statistics(y)
    try:
        want = score.calculate_frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    except TypeError:
        pytest.skip("this SciPy has no sqrtm(disp=...), which pytorch-fid 0.3.0 calls")
    assert frechet_distance(x, y) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("n", [40, 400])
def test_both_forms_give_the_same_on_the_same_features(rng, n):
    x, y = correlated(rng, n, 64), correlated(rng, n, 64, 0.1)
    fitted = frechet_from_statistics(fit_statistics(x), fit_statistics(y))
    assert frechet_distance(x, y) == pytest.approx(fitted, rel=1e-6)


@pytest.mark.parametrize("n", [20, 200])
def test_is_zero_for_equal_sets_and_the_squared_length_of_a_shift(rng, n):
    x = rng.normal(size=(n, 32))
    assert 0.0 <= frechet_distance(x, x) < 1e-10
    assert frechet_distance(x, x + 1.0) == pytest.approx(32.0, rel=1e-9)


@pytest.mark.parametrize("n", [30, 90])
def test_ignores_the_order_of_images_and_of_the_sets(rng, n):
    x, y = correlated(rng, n, 48), correlated(rng, n, 48, 0.2)
    value = frechet_distance(x, y)
    assert frechet_distance(x[rng.permutation(n)], y[::-1]) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-9)


def test_is_invariant_under_rotations(rng):
    x, y = correlated(rng, 100, 24), correlated(rng, 100, 24, 0.2)
    rotation = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    rotated = frechet_distance(x @ rotation, y @ rotation)
    assert rotated == pytest.approx(frechet_distance(x, y), rel=1e-9)


@pytest.mark.parametrize("dead_in", ["reference", "both"])
def test_works_with_a_dead_feature(rng, dead_in):
    x, y = correlated(rng, 200, 16), correlated(rng, 200, 16, 0.2)
    x[:, 3] = 0.0
    if dead_in == "both":
        y[:, 3] = 0.0
    alive = np.delete(np.arange(16), 3)
    want = by_matrix_square_root(x[:, alive], y[:, alive])
    if dead_in == "both":
        assert frechet_distance(x, y) == pytest.approx(want, rel=1e-6)
    else:
        # Exact for singular covariances: the factor form on subspaces of the features.
        assert frechet_distance(x, y) == pytest.approx(by_eigenvalues(x, y), rel=1e-6)


def test_accumulates_float32_features_in_float64(rng):
    """A large common offset: float32 sums would lose the spread altogether."""
    spread = rng.integers(-8, 9, size=(5000, 4)) / 8.0
    x, y = (spread + 4096.0).astype(np.float32), (spread[::-1] * 2 + 4096.0).astype(np.float32)
    want = frechet_distance(spread, spread * 2)
    assert frechet_distance(x, y) == pytest.approx(want, rel=1e-9)


def test_fits_the_sample_covariance_by_blocks(rng):
    x = correlated(rng, 9000, 5, 3.0)
    fitted = fit_statistics(x)
    np.testing.assert_allclose(fitted.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-12)
    assert fitted.count == 9000


def test_uses_statistics_that_are_passed_in(rng):
    x, y = correlated(rng, 100, 8), correlated(rng, 100, 8, 0.2)
    kept = fit_statistics(x)
    value = frechet_distance(x, y, reference_statistics=kept)
    assert value == frechet_distance(x, y)
    moved = FeatureStatistics(kept.mean + 1.0, kept.covariance, kept.count)
    assert frechet_distance(x, y, reference_statistics=moved) != pytest.approx(value)


@pytest.mark.parametrize("size", [20, 128, 129, 200])
def test_subsets_have_the_distance_of_their_rows_alone(rng, size):
    x = correlated(rng, 300, 128) + 50.0
    y = x + 0.01 * correlated(rng, 300, 128) + 0.001
    x, y = x.astype(np.float32), y.astype(np.float32)
    subsets = np.stack([np.sort(rng.permutation(300)[:size]) for _ in range(12)])
    want = [frechet_distance(x[rows], y[rows]) for rows in subsets]
    np.testing.assert_allclose(frechet_over_subsets(x, y, subsets), want, rtol=1e-8)
    np.testing.assert_allclose(frechet_over_subsets(x, x, subsets), 0.0, atol=1e-8)


def test_few_subsets_of_many_rows_take_no_memory_for_all_pairs(rng):
    x = rng.normal(size=(6000, 64)).astype(np.float32)
    subsets = np.stack([rng.permutation(6000)[:50] for _ in range(3)])
    want = [frechet_distance(x[rows], 2 * x[rows]) for rows in subsets]
    tracemalloc.start()
    found = frechet_over_subsets(x, 2 * x, subsets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found, want, rtol=1e-9)
    assert peak < 6000 * 6000  # all pairs would take eight times as many bytes


def test_subsets_keep_pairs_together(rng):
    x, y = correlated(rng, 60, 8), correlated(rng, 60, 8, 0.2)
    subsets = np.array([[0, 5, 9, 20, 33, 41], [1, 2, 3, 4, 5, 6]])
    want = [frechet_distance(x[rows], y[rows]) for rows in subsets]
    np.testing.assert_allclose(frechet_over_subsets(x, y, subsets), want, rtol=1e-9)
    with pytest.raises(MetricError, match="n >= 2"):
        frechet_over_subsets(x, y, np.array([[3], [4]]))
    with pytest.raises(MetricError, match="60 reference rows and 59 candidate rows"):
        frechet_over_subsets(x, y[1:], subsets)


@pytest.mark.parametrize("n", [10, 600])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_says_how_many_rows_are_broken(rng, n, bad):
    x = rng.normal(size=(n, 64))
    y = x.copy()
    y[[2, 7], 0] = bad
    with pytest.raises(MetricError, match=rf"candidate: 2 of {n} rows are not finite"):
        frechet_distance(x, y)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 4), "n >= 2"), ((5,), "n >= 2"), ((5, 3), "sizes differ")]
)
def test_refuses_sets_of_another_shape(rng, shape, message):
    with pytest.raises(MetricError, match=message):
        frechet_distance(rng.normal(size=(5, 4)), rng.normal(size=shape))


def test_refuses_integers(rng):
    with pytest.raises(MetricError, match="int64"):
        frechet_distance(rng.integers(0, 9, (5, 4)), rng.normal(size=(5, 4)))


def test_refuses_a_matrix_that_is_no_covariance():
    good = FeatureStatistics(np.zeros(2), np.eye(2), 10)
    bad = FeatureStatistics(np.zeros(2), np.array([[1.0, 4.0], [4.0, 1.0]]), 10)
    with pytest.raises(MetricError, match="positive semi-definite"):
        frechet_from_statistics(good, bad)
    broken = FeatureStatistics(np.zeros(2), np.full((2, 2), np.nan), 10)
    with pytest.raises(MetricError, match=r"candidate: .* not finite"):
        frechet_from_statistics(good, broken)


def test_refuses_fewer_than_a_hundred_images_and_says_why():
    require_enough_images(100, "rfid")
    with pytest.raises(MetricError, match=r"rfid: 99 images, at least 100 .*PSNR"):
        require_enough_images(99, "rfid")


@pytest.mark.parametrize(("count", "deficient"), [(511, True), (512, False), (4000, False)])
def test_flags_fewer_images_than_dimensions(count, deficient):
    assert is_rank_deficient(count, 512) is deficient
