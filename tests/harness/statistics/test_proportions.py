from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medbench.harness.errors import MetricError
from medbench.harness.statistics.bootstrap import Sample, bootstrap_means
from medbench.harness.statistics.proportions import mcnemar_p, share_means, wilson_interval


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (10, 10), (239, 451), (1, 1)])
def test_wilson_is_scipys(successes, count):
    found = wilson_interval(successes, count)
    expected = stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert found.value == successes / count
    # 1.96 here, 1.95996 there.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-5)


def test_wilson_covers(rng):
    hits = [
        wilson_interval(int(k), 40).low <= 0.1 <= wilson_interval(int(k), 40).high
        for k in rng.binomial(40, 0.1, 2000)
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("count", "share", "least"), [(40, 0.02, 0.95), (156, 0.01, 0.92)])
def test_shares_of_rare_events_are_covered_where_resamples_alone_do_not(count, share, least):
    """Each number of events by its probability: 95.4 % and 92.7 %, as Wilson's interval has."""
    held = bare = 0.0
    for events in range(12):
        answers = (np.arange(count) < events).astype(float)
        sample = Sample("data", ["ct"] * count)
        exact, drawn = share_means(answers, sample)["ct"], bootstrap_means(answers, sample)["ct"]
        assert exact.low < exact.high
        np.testing.assert_array_equal(exact.replicates, drawn.replicates)
        chance = stats.binom.pmf(events, count, share)
        held += chance * (exact.low <= share <= exact.high)
        bare += chance * (drawn.low <= share <= drawn.high)
    assert held >= least
    assert bare < 0.85


def test_the_mean_over_groups_of_rare_events_is_covered(rng):
    runs, held, groups = 100, 0, ["ct", "mri", "xray"]
    for run in range(runs):
        answers = (rng.random(120) < 0.02).astype(float)
        found = share_means(answers, Sample(f"run {run}", groups * 40))
        for group in ("macro", "all"):
            assert found[group].low < found[group].high
            held += found[group].low <= 0.02 <= found[group].high
    assert held / runs / 2 >= 0.93


def test_answers_of_one_patient_are_resampled_together_unless_all_are_alike():
    patients = [f"p{n // 4}" for n in range(80)]
    sample = Sample("data", ["ct"] * 80, patients)
    mixed = np.repeat(np.arange(20) % 2, 4).astype(float)
    found, drawn = share_means(mixed, sample)["ct"], bootstrap_means(mixed, sample)["ct"]
    assert (found.low, found.high) == (drawn.low, drawn.high)
    none = share_means(np.zeros(80), sample)["ct"]
    assert (none.low, none.high) == (0.0, wilson_interval(0, 20).high)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 5), (1, 8), (20, 42)])
def test_mcnemar_is_the_sign_test(first, second):
    total = first + second
    expected = stats.binomtest(first, total).pvalue if total else 1.0
    assert mcnemar_p(first, second) == pytest.approx(min(1.0, expected))


def test_impossible_counts_are_refused():
    with pytest.raises(MetricError, match="no share"):
        wilson_interval(3, 2)
    with pytest.raises(MetricError, match="no share"):
        wilson_interval(0, 0)
    with pytest.raises(MetricError, match="negative"):
        mcnemar_p(-1, 2)
