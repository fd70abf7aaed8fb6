from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medbench.harness.record_files import read_results
from medbench.leaderboard.pairs import not_comparable, paired_difference


@pytest.fixture
def stored(results):
    return {each.record.tokenizer: each for each in read_results(results).stored}


def test_rows_and_replicates_agree_on_the_interval(stored):
    first, second = stored["down8"], stored["down16"]
    rows = paired_difference(first, second, "psnr", "macro")
    drawn = paired_difference(first.record, second.record, "psnr", "macro")
    assert (rows.method, drawn.method) == ("per image", "resamples")
    assert rows.value == drawn.value > 0
    assert (rows.low, rows.high) == pytest.approx((drawn.low, drawn.high), abs=1e-4)
    assert rows.better == drawn.better == "first"
    assert rows.distinguishable


def test_turning_the_pair_turns_the_difference(stored):
    one = paired_difference(stored["down8"], stored["mean"], "ssim", "macro")
    other = paired_difference(stored["mean"], stored["down8"], "ssim", "macro")
    assert other.value == -one.value
    assert other.p == one.p
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert {one.better, other.better} == {"first", "second"}


def test_a_record_does_not_differ_from_itself(stored):
    for each in (stored["mean"], stored["mean"].record):
        found = paired_difference(each, each, "psnr", "macro")
        assert (found.value, found.p, found.better) == (0.0, 1.0, None)


def test_without_rows_or_replicates_the_intervals_are_added(stored):
    first, second = stored["down8"].record, stored["down16"].record
    found = paired_difference(first, second, "psnr", "ct")
    assert found.method == "separate intervals"
    widths = [first.metric("psnr", "ct"), second.metric("psnr", "ct")]
    half = np.hypot(*[(m.high - m.low) / 2 for m in widths])
    assert (found.high - found.low) / 2 == pytest.approx(half)
    paired = paired_difference(stored["down8"], stored["down16"], "psnr", "ct")
    assert paired.value == found.value
    assert paired.method == "per image"


def test_rows_that_do_not_give_the_records_value_are_not_used(stored, results):
    import pandas as pd

    rows = stored["down8"].rows_path
    table = pd.read_parquet(rows)
    table["psnr"] += 1.0
    table.to_parquet(rows)
    found = paired_difference(stored["down8"], stored["down16"], "psnr", "macro")
    assert found.method == "resamples"


def test_student_and_sign_flips_agree(stored):
    flips = paired_difference(stored["down8"], stored["down16"], "psnr", "macro")
    student = paired_difference(stored["down8"], stored["down16"], "psnr", "macro", resample=False)
    assert student.standard_error == flips.standard_error
    assert student.p < 0.05


@pytest.mark.parametrize(
    ("field", "message"),
    [("fingerprint", "other images"), ("id", "other images")],
)
def test_other_images_are_not_compared(make, field, message):
    a = make("a")
    dataset = a.dataset.model_copy(update={field: "other"})
    b = make("b").model_copy(update={"dataset": dataset})
    assert message in not_comparable(a, b, "psnr", "macro")
    assert paired_difference(a, b, "psnr", "macro").value is None


def test_other_definitions_and_absent_values_are_not_compared(make):
    assert "other definitions" in not_comparable(make("a"), make("b", definition=1), "psnr", "all")
    assert "needs the FID" in not_comparable(make("a"), make("b"), "rfid", "all")
    assert "no psnr of brain" in not_comparable(make("a"), make("b"), "psnr", "brain")
    other = make("b").model_copy(update={"task": "probe"})
    assert "other tasks" in not_comparable(make("a"), other, "psnr", "all")


def test_runs_with_the_same_seeds_are_compared_by_students_paired_test(stored):
    first, second = [3.0, 3.5, 2.75, 3.25, 3.5], [3.2, 3.9, 3.0, 3.4, 3.6]
    one, two = (
        _with_replicates(stored[name].record, values)
        for name, values in (("down8", first), ("down16", second))
    )
    found = paired_difference(one, two, "psnr", "macro")
    wanted = stats.ttest_rel(first, second)
    assert found.method == "seeds"
    assert found.p == pytest.approx(wanted.pvalue)
    ends = wanted.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def _with_replicates(record, values):
    changed = [
        replace(metric, value=float(np.mean(values)), replicates=values)
        if (metric.name, metric.group) == ("psnr", "macro")
        else metric
        for metric in record.metrics
    ]
    return record.model_copy(update={"metrics": changed})


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(1.0, 1.0, 1.0), (0.0, 0.1, 0.3), (0.9, None, None)],
    ids=["no width", "value outside", "one unit"],
)
def test_an_interval_that_says_nothing_of_the_spread_is_not_used(make, value, low, high):
    a, b = make("a"), make("b")
    metrics = [
        replace(m, value=value, low=low, high=high, replicates=None)
        if (m.name, m.group) == ("ssim", "ct")
        else m
        for m in a.metrics
    ]
    found = paired_difference(a.model_copy(update={"metrics": metrics}), b, "ssim", "ct")
    assert found.p is None
    assert "no usable intervals" in found.reason


def test_a_single_replicate_has_no_spread(stored):
    records = [stored[name].record for name in ("down8", "down16")]
    one, other = (_with_replicates(r, [r.metric("psnr", "macro").value]) for r in records)
    assert paired_difference(one, other, "psnr", "macro").method == "separate intervals"


def test_resamples_that_all_agree_leave_a_p_that_many_pairs_do_not_hide(make):
    """1,000 resamples alone say no less than 2/1001, which 28 pairs correct away."""
    rng = np.random.default_rng(0)
    clear, unclear = (
        paired_difference(
            _with_replicates(make("a"), (30 + shift + rng.normal(0, 1, 1000)).tolist()),
            _with_replicates(make("b"), [30.0] * 1000),
            "psnr",
            "macro",
        )
        for shift in (8.0, 2.0)
    )
    assert clear.p < 1e-10
    assert unclear.p == pytest.approx(0.0455, abs=0.02)
