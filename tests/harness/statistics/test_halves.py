from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from medbench.harness.errors import MetricError
from medbench.harness.metrics.frechet import frechet_distance, frechet_over_subsets
from medbench.harness.metrics.kid import kid, kid_over_subsets
from medbench.harness.statistics.halves import halves_interval, macro_of_halves, random_halves
from medbench.harness.statistics.intervals import Interval

REPETITIONS, HALVES = 80, 100


@dataclass(frozen=True)
class Seen:
    coverage: float
    spread_ratio: float
    """Mean standard deviation over halves, relative to the true one."""


def simulate(draw_pair, value_of, over_subsets, n):
    """Coverage of the expectation at n, over repeated data from one distribution."""
    truth_draws = np.array([value_of(*draw_pair()) for _ in range(1500)])
    intervals = []
    for i in range(REPETITIONS):
        x, y = draw_pair()
        halves = random_halves(np.arange(n), fingerprint=str(i), stratum="ct", halves=HALVES)
        intervals.append(halves_interval(value_of(x, y), over_subsets(x, y, halves), n))
    truth = truth_draws.mean()
    hits = [interval.low <= truth <= interval.high for interval in intervals]
    spread = np.mean([interval.high - interval.low for interval in intervals]) / 2 / 1.96
    return Seen(float(np.mean(hits)), float(spread / truth_draws.std()))


def paired(rng, n, d=4, shift=0.3):
    def draw():
        x = rng.normal(size=(n, d)) * np.linspace(1, 2, d)
        return x, 0.9 * x + 0.3 * rng.normal(size=(n, d)) + shift

    return draw


def independent(rng, n, d=4):
    return lambda: tuple(rng.normal(size=(2, n, d)))


def test_fits_the_mean_whose_sampling_distribution_is_known(rng):
    """SD = 1/√n exactly; a half without replacement needs no factor."""
    n = 100

    def mean(x, _):
        return float(x.mean())

    def means(x, _, subsets):
        return x[subsets].mean(axis=1)

    seen = simulate(lambda: (rng.normal(size=n), None), mean, means, n)
    assert seen.coverage >= 0.88
    assert seen.spread_ratio == pytest.approx(1.0, abs=0.08)


def test_covers_the_frechet_distance_of_reconstructions(rng):
    """150 repetitions at n = 200, d = 8 gave 93 % (98 % without a shift), SD ratio 1.00 (1.07);
    60 at n = 100, d = 128, singular covariances: 97 %, ratio 1.13."""
    seen = simulate(paired(rng, 100), frechet_distance, frechet_over_subsets, 100)
    assert seen.coverage >= 0.88
    assert 0.9 <= seen.spread_ratio <= 1.25


def test_covers_the_kernel_distance_of_reconstructions(rng):
    """150 repetitions at n = 200, d = 8 gave 99 %, SD ratio 1.79."""
    seen = simulate(paired(rng, 100), kid, kid_over_subsets, 100)
    assert seen.coverage >= 0.92
    assert 1.0 <= seen.spread_ratio <= 2.0


def test_is_too_wide_but_never_too_narrow_for_equal_distributions(rng):
    """The first-order term vanishes: √3 in theory, 1.66 seen at n = 200, d = 8."""
    seen = simulate(independent(rng, 60), kid, kid_over_subsets, 60)
    assert seen.coverage >= 0.95
    assert 1.4 <= seen.spread_ratio <= 2.0


def test_a_percentile_bootstrap_of_a_frechet_distance_would_not_cover(rng):
    """Why halves exist: images drawn twice make the sets look farther apart."""
    draw = independent(rng, 60, d=16)
    truth = np.mean([frechet_distance(*draw()) for _ in range(300)])
    hits = []
    for _ in range(20):
        x, y = draw()
        rows = rng.integers(0, 60, (100, 60))
        low, high = np.quantile(frechet_over_subsets(x, y, rows), [0.025, 0.975])
        hits.append(low <= truth <= high)
    assert np.mean(hits) < 0.2


@pytest.mark.parametrize(("count", "size"), [(4, 2), (101, 50), (36, 18)])
def test_halves_are_halves_without_repetition(count, size):
    halves = random_halves(np.arange(count), fingerprint="data", stratum="ct", halves=50)
    assert halves.shape == (50, size)
    assert (np.diff(halves, axis=1) > 0).all()
    assert halves.min() >= 0
    assert halves.max() < count


def test_halves_are_common_to_all_who_name_the_same_data():
    rows = np.arange(30)
    first = random_halves(rows, fingerprint="data", stratum="ct")
    assert first.shape == (200, 15)
    np.testing.assert_array_equal(first, random_halves(rows, fingerprint="data", stratum="ct"))
    assert (first != random_halves(rows, fingerprint="data", stratum="mri")).any()
    assert (first != random_halves(rows, fingerprint="other", stratum="ct")).any()


@pytest.mark.parametrize("sizes", [[3] * 12, [5, 1, 9, 2, 2, 7]])
def test_halves_take_whole_patients_but_for_one(sizes):
    """Patients' images lie anywhere in the data; all halves have the same number of images."""
    units = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    halves = random_halves(units, fingerprint="data", stratum="ct", halves=50)
    assert halves.shape == (50, sum(sizes) // 2)
    assert (np.diff(halves, axis=1) > 0).all()
    for half in halves:
        taken = np.bincount(units[half], minlength=len(sizes))
        assert ((taken > 0) & (taken < sizes)).sum() <= 1
    assert len(np.unique(halves, axis=0)) > 10


def clustered(rng, patients, images, d=4):
    """Correlation 0.7 between a patient's images, of originals and of reconstructions."""

    def correlated():
        shared = np.repeat(rng.normal(size=(patients, d)), images, axis=0)
        return np.sqrt(0.7) * shared + np.sqrt(0.3) * rng.normal(size=(patients * images, d))

    x = correlated()
    return x, 0.8 * x + 0.5 * correlated() + 0.5


def test_covers_where_patients_have_four_images_each_and_would_not_if_they_were_ignored():
    """200 runs gave 94 %, and 70 % if patients are ignored."""
    rng = np.random.default_rng(0)
    truth = np.mean([frechet_distance(*clustered(rng, 60, 4)) for _ in range(600)])
    patients = np.repeat(np.arange(60), 4)
    covered = {}
    for name, units in {"known": patients, "ignored": np.arange(240)}.items():
        rng, hits = np.random.default_rng(1), 0
        for i in range(REPETITIONS):
            x, y = clustered(rng, 60, 4)
            halves = random_halves(units, fingerprint=str(i), stratum="ct", halves=HALVES)
            over = frechet_over_subsets(x, y, halves)
            found = halves_interval(frechet_distance(x, y), over, 240, len(set(units)))
            hits += found.low <= truth <= found.high
        covered[name] = hits / REPETITIONS
    assert covered["known"] >= 0.90
    assert covered["ignored"] < 0.80


def test_the_interval_is_1_96_standard_deviations_around_the_value(rng):
    over = rng.normal(5.0, 2.0, 200)
    interval = halves_interval(3.0, over, 400)
    assert interval.value == 3.0
    assert interval.high - 3.0 == pytest.approx(1.96 * over.std(ddof=1))
    assert 3.0 - interval.low == pytest.approx(1.96 * over.std(ddof=1))
    assert (interval.count, interval.units) == (400, 400)


def test_replicates_keep_their_differences_and_lose_the_bias_of_the_half(rng):
    over = rng.normal(5.0, 2.0, 200)
    replicates = halves_interval(3.0, over, 400).replicates
    assert replicates.mean() == pytest.approx(3.0)
    np.testing.assert_allclose(np.diff(replicates), np.diff(over))


def test_the_macro_mean_adds_independent_strata(rng):
    parts = [halves_interval(v, rng.normal(v, 1.0, 2000), 100) for v in (1.0, 2.0, 6.0)]
    macro = macro_of_halves(parts)
    assert macro.value == pytest.approx(3.0)
    assert macro.count == 300
    assert macro.high - macro.value == pytest.approx(1.96 / np.sqrt(3), rel=0.06)
    np.testing.assert_allclose(macro.replicates, np.mean([p.replicates for p in parts], axis=0))


def test_a_weighted_mean_weighs_values_and_replicates(rng):
    parts = [halves_interval(v, rng.normal(v, 1.0, 2000), n) for v, n in ((1.0, 300), (5.0, 100))]
    mean = macro_of_halves(parts, [300, 100])
    assert mean.value == pytest.approx(2.0)
    assert mean.high - mean.value == pytest.approx(1.96 * np.hypot(0.75, 0.25), rel=0.06)


def test_a_macro_mean_over_a_part_without_ends_has_none(rng):
    alone = Interval(1.0, None, None, 100, 3, np.empty(0))
    macro = macro_of_halves([alone, halves_interval(2.0, rng.normal(size=50), 100, 20)])
    assert (macro.value, macro.low, macro.high) == (1.5, None, None)
    assert (macro.count, macro.units) == (200, 23)


def test_refuses_what_has_no_spread():
    with pytest.raises(MetricError, match="at least 4"):
        random_halves(np.arange(3), fingerprint="data", stratum="ct")
    with pytest.raises(MetricError, match="120 images of 3 patients or volumes: at least 4"):
        random_halves(np.arange(120) % 3, fingerprint="data", stratum="ct")
    with pytest.raises(MetricError, match="at least two halves"):
        halves_interval(1.0, np.array([1.0]), 10)
    with pytest.raises(MetricError, match="1 of 2 halves are not finite"):
        halves_interval(1.0, np.array([1.0, np.nan]), 10)


def test_refuses_a_macro_mean_of_unequal_parts(rng):
    parts = [halves_interval(1.0, rng.normal(size=n), 10) for n in (5, 6)]
    with pytest.raises(MetricError, match=r"\[5, 6\]"):
        macro_of_halves(parts)
    with pytest.raises(MetricError, match=r"\[\]"):
        macro_of_halves([])
