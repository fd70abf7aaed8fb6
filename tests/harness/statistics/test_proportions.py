from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medbench.harness.errors import MetricError
from medbench.harness.statistics.proportions import mcnemar_p, wilson_interval


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
