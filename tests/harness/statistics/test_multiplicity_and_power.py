from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medbench.harness.errors import MetricError
from medbench.harness.statistics.multiplicity import holm
from medbench.harness.statistics.power import needed, resolution


def test_holm_of_a_worked_example():
    # Sorted .005 .01 .03 .04 times 4 3 2 1, then never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_the_order_and_stays_below_one():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8, 1.0]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(MetricError, match="p values"):
        holm([0.5, p])


def test_holm_holds_the_chance_of_any_false_rejection(rng):
    wrong = [min(holm(rng.uniform(size=20).tolist())) <= 0.05 for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_planned_images_give_the_planned_power(rng):
    count = needed(0.2, standard_error=1 / np.sqrt(30), count=30)
    assert count == 197  # (1.960 + 0.842)² / 0.2² = 196.2
    found = [stats.ttest_1samp(rng.normal(0.2, 1, count), 0).pvalue < 0.05 for _ in range(1500)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_what_these_images_show_needs_just_these_images():
    shown = resolution(0.1)
    assert shown == pytest.approx(0.28016, abs=1e-4)
    assert needed(shown, standard_error=0.1, count=50) in (50, 51)


def test_no_number_of_images_shows_no_difference():
    with pytest.raises(MetricError, match="cannot be planned"):
        needed(0.0, standard_error=0.1, count=5)
    with pytest.raises(MetricError, match="between 0 and 1"):
        resolution(0.1, power=1.0)


@pytest.mark.parametrize("difference", [0.8, 1.2, 2.0])
@pytest.mark.parametrize(("level", "power"), [(0.05, 0.8), (0.05 / 6, 0.9)])
def test_planned_seeds_give_the_planned_power_of_the_t_test_and_one_less_does_not(
    difference, level, power
):
    """Spread 1, known from five seeds; scipy's noncentral t is the closed form of the power."""
    count = needed(
        difference, standard_error=1 / np.sqrt(5), count=5, degrees=4, level=level, power=power
    )

    def power_of(seeds):
        limit, shift = stats.t.ppf(1 - level / 2, seeds - 1), difference * np.sqrt(seeds)
        return stats.nct.sf(limit, seeds - 1, shift) + stats.nct.cdf(-limit, seeds - 1, shift)

    assert power_of(count - 1) < power <= power_of(count) + 1e-9


def test_simulated_seeds_show_the_difference_planned_for(rng):
    count = needed(1.5, standard_error=1 / np.sqrt(3), count=3, degrees=2)
    runs = rng.normal(1.5, 1, (20_000, count))
    assert (stats.ttest_1samp(runs, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(
        0.85, abs=0.05
    )


def test_many_degrees_of_freedom_are_the_normal_approximation():
    normal = needed(0.02, standard_error=0.1, count=1000)
    assert needed(0.02, standard_error=0.1, count=1000, degrees=1e7) - normal in (0, 1)


def test_patients_of_several_images_are_planned_as_units():
    """Ten images of each patient: as many patients as there would be images of one each."""
    alone = needed(0.5, standard_error=0.4, count=6, degrees=5)
    assert 10 * (alone - 1) < needed(0.5, standard_error=0.4, count=60, degrees=5) <= 10 * alone


def test_what_these_seeds_show_needs_just_these_seeds():
    shown = resolution(0.1, degrees=4)
    assert stats.nct.sf(stats.t.ppf(0.975, 4), 4, shown / 0.1) == pytest.approx(0.8)
    assert needed(shown * (1 + 1e-9), standard_error=0.1, count=5, degrees=4) == 5
