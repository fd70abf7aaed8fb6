from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from medbench.harness.errors import MetricError, UsageError
from medbench.harness.statistics import bootstrap
from medbench.harness.statistics.bootstrap import (
    Sample,
    bootstrap_means,
    bootstrap_statistic,
    bootstrap_statistics,
)


def covered(interval, truth):
    return interval.low <= truth <= interval.high


def test_values_are_the_plain_means(rng):
    values = rng.normal(size=60)
    strata = np.repeat(["ct", "mri", "xray"], [10, 20, 30])
    found = bootstrap_means(values, Sample("data", strata.tolist()))
    parts = [values[strata == name].mean() for name in ("ct", "mri", "xray")]
    assert [found[name].value for name in ("ct", "mri", "xray")] == pytest.approx(parts)
    assert found["all"].value == pytest.approx(values.mean())
    assert found["macro"].value == pytest.approx(np.mean(parts))
    assert [found[name].count for name in ("ct", "all", "macro")] == [10, 60, 60]


@pytest.mark.parametrize("strata", [1, 3])
def test_covers_the_mean_of_normal_scores(rng, strata):
    """400 repetitions gave 95.8 % (100 images) and 94.3 % (three strata of 40)."""
    n = 100 if strata == 1 else 40
    names = np.repeat([f"m{k}" for k in range(strata)], n).tolist()
    hits = [
        covered(bootstrap_means(rng.normal(size=n * strata), Sample(str(i), names))["macro"], 0.0)
        for i in range(200)
    ]
    assert 0.90 <= np.mean(hits) <= 0.985


def test_covers_the_mean_of_clustered_scores_only_if_it_knows_the_clusters():
    """40 patients of 5 images, half of the variance between patients.

    2,400 repetitions gave 93.3 % with the patients (Student's t: 94.8 %), 400 gave 76 % without
    them. With 10 patients 90 %, with 5 patients 83 %: few patients are few, however many images.
    """
    rng = np.random.default_rng(1)
    strata = ["ct"] * 200
    patients = [str(p) for p in range(40) for _ in range(5)]
    known, unknown = [], []
    for i in range(200):
        values = (rng.normal(size=(40, 1)) + rng.normal(size=(40, 5))).ravel()
        known.append(covered(bootstrap_means(values, Sample(str(i), strata, patients))["ct"], 0))
        unknown.append(covered(bootstrap_means(values, Sample(str(i), strata))["ct"], 0))
    assert 0.90 <= np.mean(known) <= 0.985
    assert np.mean(unknown) < 0.85


def test_the_spread_is_the_textbook_one(rng):
    values = rng.normal(size=400)
    interval = bootstrap_means(values, Sample("data", ["ct"] * 400), replicates=4000)["ct"]
    assert interval.replicates.shape == (4000,)
    assert interval.replicates.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)


def test_two_tokenizers_share_their_draws(rng):
    """Scores that differ by a constant differ by it in every replicate, so comparisons pair."""
    values = rng.normal(size=50)
    sample = Sample("data", ["ct"] * 30 + ["mri"] * 20)
    first, second = bootstrap_means(values, sample), bootstrap_means(values + 0.5, sample)
    for group in first:
        np.testing.assert_allclose(second[group].replicates - first[group].replicates, 0.5)


def test_draws_of_a_stratum_do_not_depend_on_the_others(rng):
    values = rng.normal(size=50)
    both = bootstrap_means(values, Sample("data", ["ct"] * 30 + ["mri"] * 20))
    alone = bootstrap_means(values[:30], Sample("data", ["ct"] * 30))
    np.testing.assert_array_equal(both["ct"].replicates, alone["ct"].replicates)


def test_blocks_do_not_change_the_replicates(rng, monkeypatch):
    values, sample = rng.normal(size=40), Sample("data", ["ct"] * 40)
    whole = bootstrap_means(values, sample)["ct"].replicates
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_A_TIME", 700)
    np.testing.assert_array_equal(bootstrap_means(values, sample)["ct"].replicates, whole)


def test_memory_does_not_grow_with_the_number_of_images(rng):
    values, sample = rng.normal(size=30_000), Sample("data", ["ct"] * 30_000)
    tracemalloc.start()
    bootstrap_means(values, sample, replicates=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6  # all 300 x 30,000 draws at once: 72 MB of words, as many of indices, …


def test_clusters_are_drawn_whole(rng):
    """Within a cluster scores cancel, so whole clusters always have mean zero."""
    values = np.tile([1.0, -1.0], 20)
    patients = [str(i // 2) for i in range(40)]
    interval = bootstrap_means(values, Sample("data", ["ct"] * 40, patients))["ct"]
    assert interval.units == 20
    np.testing.assert_allclose(interval.replicates, 0.0, atol=1e-12)


def test_unknown_patients_are_units_of_their_own():
    sample = Sample("data", ["ct"] * 5, ["a", "a", "", "", "b"])
    assert bootstrap_means(np.arange(5.0), sample)["ct"].units == 4


def test_clusters_of_one_image_each_change_nothing(rng):
    values, strata = rng.normal(size=30), ["ct"] * 30
    plain = bootstrap_means(values, Sample("data", strata))["ct"].replicates
    singles = Sample("data", strata, [f"p{i}" for i in range(30)])
    np.testing.assert_array_equal(bootstrap_means(values, singles)["ct"].replicates, plain)


def test_one_patient_has_no_interval():
    sample = Sample("data", ["ct"] * 3 + ["mri"] * 3, ["a", "a", "a", "b", "c", "d"])
    found = bootstrap_means(np.arange(6.0), sample)
    for group in ("ct", "all", "macro"):
        assert (found[group].low, found[group].high) == (None, None)
        assert len(found[group].replicates) == 0
    assert found["ct"].value == 1.0
    assert found["macro"].value == 2.5
    assert found["mri"].low is not None


def test_other_statistics_use_the_same_draws(rng):
    values = rng.normal(size=40)
    sample = Sample("data", ["a"] * 15 + ["b"] * 25, [str(i // 2) for i in range(40)])
    means = bootstrap_means(values, sample, replicates=50)["all"]
    found = bootstrap_statistic(lambda rows: values[rows].mean(), sample, replicates=50)
    np.testing.assert_allclose(found.replicates, means.replicates)
    assert (found.value, found.low, found.high) == pytest.approx(
        (means.value, means.low, means.high)
    )


def test_covers_the_area_under_the_curve():
    """Binormal scores one standard deviation apart: AUC = Φ(1/√2) = 0.7602."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60)
    names = labels.astype(str).tolist()
    hits = []
    for i in range(100):
        scores = rng.normal(size=120) + labels

        def area(rows, scores=scores):
            negative, positive = (scores[rows[labels[rows] == k]] for k in (0, 1))
            return float((positive[:, None] > negative).mean())

        hits.append(
            covered(bootstrap_statistic(area, Sample(str(i), names), replicates=300), 0.7602)
        )
    assert 0.88 <= np.mean(hits) <= 0.99


def test_refuses_a_statistic_that_some_draws_do_not_have(rng):
    def only_with_the_first(rows):
        return 1.0 if 0 in rows else float("nan")

    with pytest.raises(MetricError, match=r"not finite on \d+ of 40 draws"):
        bootstrap_statistic(only_with_the_first, Sample("data", ["ct"] * 5), replicates=40)


@pytest.mark.parametrize("values", [[1.0, 2.0], [], [[1.0, 2.0, 3.0]]])
def test_refuses_another_number_of_scores(values):
    with pytest.raises(MetricError, match="3 images need as many scores"):
        bootstrap_means(np.array(values), Sample("data", ["ct"] * 3))


def test_refuses_scores_that_are_not_finite():
    with pytest.raises(MetricError, match="1 of 3 scores are not finite"):
        bootstrap_means(np.array([1.0, np.nan, 2.0]), Sample("data", ["ct"] * 3))


def test_refuses_strata_that_are_named_like_means():
    with pytest.raises(UsageError, match="'all' or 'macro'"):
        Sample("data", ["ct", "macro"])


def test_refuses_another_number_of_clusters():
    with pytest.raises(UsageError, match="2 strata and 1 clusters"):
        Sample("data", ["ct", "ct"], ["a"])


@pytest.mark.parametrize("clusters", [None, ["a", "a", "b", "", "c", "c", "c", ""]])
def test_several_statistics_at_once_are_those_of_one_after_the_other(clusters, rng):
    values = rng.normal(size=8)
    sample = Sample("data", ["ct"] * 5 + ["mri"] * 3, clusters)
    statistics = [lambda rows: values[rows].mean(), lambda rows: np.median(values[rows])]
    together = bootstrap_statistics(statistics, sample, replicates=40)
    for found, statistic in zip(together, statistics, strict=True):
        alone = bootstrap_statistic(statistic, sample, replicates=40)
        assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
        np.testing.assert_array_equal(found.replicates, alone.replicates)


def test_of_several_statistics_only_the_one_that_breaks_has_no_ends(rng):
    values = rng.normal(size=5)
    first = lambda rows: 1.0 if 0 in rows else np.nan  # noqa: E731
    broken, whole = bootstrap_statistics(
        [first, lambda rows: values[rows].mean()], Sample("data", ["ct"] * 5), replicates=40
    )
    assert (broken.value, broken.low, broken.units) == (1.0, None, 5)
    assert whole.low < whole.value < whole.high
