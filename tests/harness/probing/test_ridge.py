from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import average_precision_score

from medbench.harness.errors import MetricError
from medbench.harness.probing.ridge import PENALTIES, ProbeSet, fast_probe, fit_ridge
from medbench.harness.probing.standardise import fit_standardisation


def images(rng, *, count=120, dims=20, gap=1.0, groups=("ct", "mri")):
    labels = np.arange(count) % 3
    features = rng.normal(size=(count, dims))
    features[np.arange(count), labels] += gap
    names = [groups[number // 3 % len(groups)] for number in range(count)]
    return ProbeSet(features.astype(np.float32), [f"class {each}" for each in labels], names)


@pytest.mark.parametrize(("count", "dims"), [(40, 9), (40, 40), (30, 200)])
def test_is_the_solution_and_the_choice_of_scikit_learn(rng, count, dims):
    features = rng.normal(size=(count, dims))
    targets = features[:, :2] + 0.5 * rng.normal(size=(count, 2))
    features = fit_standardisation(features).apply(features)
    found = fit_ridge(features, targets)
    # Leave-one-out is of the whole fit there too: the intercept is fitted again each time.
    theirs = RidgeCV(alphas=[count * p for p in PENALTIES]).fit(features, targets)
    assert count * found.penalty == pytest.approx(theirs.alpha_)
    np.testing.assert_allclose(found.coefficients, theirs.coef_.T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.intercept, theirs.intercept_, atol=1e-12)


def test_chooses_the_penalty_whose_refits_without_one_image_err_least(rng):
    features = rng.normal(size=(25, 12))
    features -= features.mean(axis=0)
    targets = features[:, :1] + rng.normal(size=(25, 1))

    def error(penalty):
        total = 0.0
        for out in range(25):
            x, y = np.delete(features, out, axis=0), np.delete(targets, out, axis=0)
            centre, mean = x.mean(axis=0), y.mean(axis=0)
            # 25, not 24: the penalty on the sum of squares is that of the whole fit.
            gram = (x - centre).T @ (x - centre) + 25 * penalty * np.eye(12)
            weights = np.linalg.solve(gram, (x - centre).T @ (y - mean))
            total += float(
                np.square(targets[out] - (features[out] - centre) @ weights - mean).sum()
            )
        return total

    assert fit_ridge(features, targets).penalty == min(PENALTIES, key=error)


def test_scores_each_group_by_its_own_probe_and_averages_them(rng):
    train, test = images(rng), images(rng)
    found = fast_probe(train, test)
    assert list(found) == ["ct", "mri", "macro"]
    alone = fast_probe(images_of(train, "mri"), images_of(test, "mri"))
    assert alone["mri"] == found["mri"]
    mean = (found["ct"].mean_average_precision + found["mri"].mean_average_precision) / 2
    assert found["macro"].mean_average_precision == pytest.approx(mean)
    assert found["ct"].chance == pytest.approx(1 / 3)


def images_of(whole, group):
    features, labels = whole.of_group(group)
    return ProbeSet(features, labels, [group] * len(labels))


def test_average_precision_is_that_of_scikit_learn_on_the_same_predictions(rng):
    train, test = images(rng, groups=("ct",)), images(rng, groups=("ct",))
    standard = fit_standardisation(train.features)
    targets = np.array([[label == f"class {c}" for c in range(3)] for label in train.labels])
    fitted = fit_ridge(standard.apply(train.features), targets.astype(float))
    scores = standard.apply(test.features) @ fitted.coefficients
    truth = np.array([[label == f"class {c}" for c in range(3)] for label in test.labels])
    expected = average_precision_score(truth, scores + fitted.intercept, average="macro")
    assert fast_probe(train, test)["ct"].mean_average_precision == pytest.approx(expected)


def test_repeats_exactly_and_ignores_the_scale_of_features(rng):
    train, test = images(rng), images(rng)
    first = fast_probe(train, test)
    assert repr(fast_probe(train, test)) == repr(first)
    factors = 2.0 ** rng.integers(-6, 7, train.features.shape[1]).astype(np.float32)
    scaled = [
        ProbeSet(each.features * factors + 3, each.labels, each.groups) for each in (train, test)
    ]
    for name, scores in fast_probe(*scaled).items():
        assert scores.auc == pytest.approx(first[name].auc, abs=1e-3)


def test_features_that_say_nothing_score_as_chance(rng):
    train, test = images(rng), images(rng)
    blank = [
        ProbeSet(np.full_like(each.features, 0.3), each.labels, each.groups)
        for each in (train, test)
    ]
    found = fast_probe(*blank)["macro"]
    assert found.mean_average_precision == pytest.approx(found.chance)
    assert found.auc == 0.5


def test_better_features_score_higher(rng):
    found = [
        fast_probe(images(rng, gap=gap), images(rng, gap=gap))["macro"].mean_average_precision
        for gap in (0.0, 1.0, 4.0)
    ]
    assert found[0] < 0.45 < found[1] < 0.9 < found[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a, ProbeSet(b.features, b.labels, ["pet"] * 120)), "pet: .* 0 classes"),
        (lambda a, b: (ProbeSet(a.features, ["one"] * 120, a.groups), b), "of 1 classes"),
        (lambda a, b: (a, ProbeSet(b.features, ["new"] * 120, b.groups)), "'new' are none"),
        (lambda a, b: (a, ProbeSet(b.features, ["class 0"] * 120, b.groups)), "no AP"),
        (lambda a, b: (a, ProbeSet(b.features[:, :5], b.labels, b.groups)), "sizes differ"),
        (lambda a, b: (a, ProbeSet(b.features * np.nan, b.labels, b.groups)), "not finite"),
        (lambda a, b: (a, ProbeSet(b.features[:0], [], [])), "no test images"),
    ],
)
def test_bad_input_is_refused(rng, change, message):
    with pytest.raises(MetricError, match=message):
        fast_probe(*change(images(rng), images(rng)))


def test_a_label_and_a_group_per_image_are_needed():
    with pytest.raises(MetricError, match="3 rows of features, 2 labels and 3 groups"):
        ProbeSet(np.zeros((3, 2)), ["a", "b"], ["ct"] * 3)
