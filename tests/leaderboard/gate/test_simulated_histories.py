from __future__ import annotations

import numpy as np
import pytest

from medbench.leaderboard.gate.policy import Policy
from medbench.leaderboard.gate.verdict import judge

SIZE = 0.2
SINGLE = Policy(metrics=["psnr"], groups="overall", minimum_effect={"psnr": 0.0})
DEFAULT = Policy()


def standard_error(lab):
    """Of the paired difference of macro PSNR."""
    return SIZE / np.sqrt(lab.count)


def share_failed(lab, rng, policy, *, shift, times):
    failed = 0
    for _ in range(times):
        scores = lab.scores(rng)
        change = lab.changes(rng, SIZE)
        change[0] -= shift * standard_error(lab)
        verdict = judge([lab.measured(scores + change)], [lab.measured(scores)], policy)
        failed += not verdict.passed
    return failed / times


def test_false_alarms_are_rare(lab):
    assert share_failed(lab, np.random.default_rng(6), DEFAULT, shift=0, times=150) <= 0.02


@pytest.mark.slow
def test_false_alarms_of_the_default_policy_are_at_most_one_per_cent(lab):
    assert share_failed(lab, np.random.default_rng(1), DEFAULT, shift=0, times=1000) <= 0.01


@pytest.mark.slow
def test_false_alarms_of_one_metric_are_at_most_one_per_cent(lab):
    # Two standard deviations of the count are allowed: the rate itself is 1 %.
    share = share_failed(lab, np.random.default_rng(2), SINGLE, shift=0, times=1000)
    assert share <= 0.01 + 2 * np.sqrt(0.01 * 0.99 / 1000)


@pytest.mark.parametrize(("policy", "shift"), [(SINGLE, 4.0), (DEFAULT, 5.5)], ids=["one", "all"])
def test_regressions_are_caught_in_95_per_cent(lab, policy, shift):
    share = share_failed(lab, np.random.default_rng(3), policy, shift=shift, times=200)
    assert share >= 0.95 - 1.64 * np.sqrt(0.95 * 0.05 / 200)


def test_ten_small_steps_are_caught_against_the_release(lab):
    rng = np.random.default_rng(4)
    caught_by_release = caught_by_last = 0
    for _ in range(20):
        release = scores = lab.scores(rng)
        for _ in range(10):
            change = lab.changes(rng, SIZE / np.sqrt(10))
            change[0] -= 0.6 * standard_error(lab)
            before, scores = scores, scores + change
        verdict = judge(
            [lab.measured(scores)],
            [lab.measured(before)],
            DEFAULT,
            release=[lab.measured(release)],
        )
        last, drift = verdict.comparisons
        caught_by_last += bool(last.worse)
        caught_by_release += bool(drift.worse)
    assert caught_by_release >= 19
    assert caught_by_last <= 4


def test_a_deterministic_rerun_differs_by_zero(lab):
    scores = lab.scores(np.random.default_rng(5))
    verdict = judge([lab.measured(scores)], [lab.measured(scores)], DEFAULT)
    (comparison,) = verdict.comparisons
    assert verdict.passed
    assert {finding.loss for finding in comparison.findings} == {0.0}
    assert {finding.standard_error for finding in comparison.findings} == {0.0}
