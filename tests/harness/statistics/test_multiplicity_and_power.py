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
