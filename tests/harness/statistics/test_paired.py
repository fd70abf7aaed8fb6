from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medbench.harness.errors import MetricError
from medbench.harness.statistics.bootstrap import Sample, bootstrap_means
from medbench.harness.statistics.paired import (
    bootstrap_p,
    paired_means,
    sign_flip_p,
    t_quantile,
    upper_tail,
)


def test_one_stratum_of_images_is_the_paired_t_test(rng):
    a, b = rng.normal(size=30), rng.normal(0.3, 1, size=30)
    found = paired_means(a - b, Sample("data", ["ct"] * 30))["ct"]
    expected = stats.ttest_rel(a, b)
    statistic = found.value / found.standard_error
    assert statistic == pytest.approx(expected.statistic)
    assert found.degrees == pytest.approx(29)
    assert 2 * upper_tail(abs(statistic), found.degrees) == pytest.approx(expected.pvalue)


def test_two_strata_with_equal_weight_have_welchs_degrees_of_freedom(rng):
    first, second = rng.normal(0, 1, 12), rng.normal(0, 3, 40)
    sample = Sample("data", ["a"] * 12 + ["b"] * 40)
    found = paired_means(np.concatenate([first, second]), sample)["macro"]
    # The mean of two means has the error and the degrees of Welch's test of one against minus
    # the other.
    welch = stats.ttest_ind(first, -second, equal_var=False)
    assert found.value / found.standard_error == pytest.approx(welch.statistic)
    assert found.degrees == pytest.approx(welch.df)


def test_the_standard_error_is_the_spread_of_the_bootstrap(rng):
    strata = ["a"] * 60 + ["b"] * 140
    patients = [str(i // 4) for i in range(200)]
    values = rng.normal(size=50).repeat(4) + rng.normal(size=200)
    sample = Sample("data", strata, patients)
    found, drawn = paired_means(values, sample), bootstrap_means(values, sample, replicates=4000)
    for group in ("a", "b", "all", "macro"):
        assert found[group].value == pytest.approx(drawn[group].value)
        assert found[group].standard_error == pytest.approx(
            drawn[group].replicates.std(ddof=1), rel=0.08
        )


def test_one_unit_has_no_standard_error():
    found = paired_means(np.array([1.0, 2.0, 3.0]), Sample("data", ["a", "b", "b"]))
    assert found["a"].standard_error is None
    assert found["b"].standard_error == pytest.approx(0.5)


def test_with_a_stratum_of_one_unit_the_strata_are_collapsed(rng):
    values = rng.normal(size=9)
    sample = Sample("data", ["a", "b", "b", "b", "b", "b", "b", "b", "b"])
    found = paired_means(values, sample)["all"]
    expected = stats.ttest_1samp(values, 0)
    assert found.value / found.standard_error == pytest.approx(expected.statistic)
    assert found.degrees == 8
    # Differences between strata only widen it.
    apart = paired_means(values + 5 * np.eye(9)[0], sample)["all"]
    assert apart.standard_error > found.standard_error


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0], []])
def test_differences_that_are_not_numbers_of_all_images_are_refused(values):
    with pytest.raises(MetricError, match="finite differences"):
        paired_means(np.array(values), Sample("data", ["a", "a"]))


def test_sign_flips_of_few_units_are_exact(rng):
    values = rng.normal(0.5, 1, 10)
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values, fingerprint="data") == pytest.approx(expected)


def test_sign_flips_of_many_units_are_near_the_t_test(rng):
    values = rng.normal(0.15, 1, 200)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert sign_flip_p(values, fingerprint="data") == pytest.approx(expected, rel=0.25)


def test_sign_flips_are_the_same_for_everybody(rng):
    values = rng.normal(size=50)
    assert sign_flip_p(values, fingerprint="a") == sign_flip_p(values, fingerprint="a")


def test_sign_flips_hold_their_level(rng):
    p = [sign_flip_p(rng.standard_t(3, 12), fingerprint=str(i)) for i in range(800)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_equal_systems_have_p_one():
    assert sign_flip_p(np.zeros(5), fingerprint="data") == 1.0
    assert bootstrap_p(np.zeros(99)) == 1.0


def test_the_bootstrap_p_never_is_zero():
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.array([-1.0] * 300 + [1.0] * 699)) == pytest.approx(2 * 301 / 1000)


def test_tails_and_quantiles_are_scipys():
    assert upper_tail(2.5, 7) == pytest.approx(stats.t.sf(2.5, 7))
    assert upper_tail(6.0, math.inf) == pytest.approx(stats.norm.sf(6.0))
    assert t_quantile(7) == pytest.approx(stats.t.ppf(0.975, 7))
    assert t_quantile(math.inf) == 1.96
