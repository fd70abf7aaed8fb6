from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression

from medbench.harness.metrics.classification import one_hot
from medbench.harness.probing import design as design_module
from medbench.harness.probing import logistic, standardise
from medbench.harness.probing.logistic import fit_path, log_probabilities
from medbench.harness.probing.standardise import fit_standardisation

PENALTIES = (1.0, 1e-2, 1e-4)


def rows(rng, *, count, dims, classes):
    labels = np.arange(count) % classes
    features = rng.normal(size=(count, dims)) * rng.uniform(0.1, 20, dims)
    features[:, 0] += 2 * labels
    return features.astype(np.float32), labels


def fit(features, table, **options):
    return fit_path(features, fit_standardisation(features), table, PENALTIES, **options)


def by_scikit_learn(features, labels, penalty, *, factor):
    model = LogisticRegression(C=factor / (len(features) * penalty), tol=1e-10, max_iter=20_000)
    return model.fit(fit_standardisation(features).apply(features), labels)


@pytest.mark.parametrize(("count", "dims"), [(150, 12), (60, 60), (40, 300)])
def test_optimum_is_that_of_scikit_learn(rng, count, dims):
    features, labels = rows(rng, count=count, dims=dims, classes=4)
    standard = fit_standardisation(features).apply(features)
    for found in fit(features, one_hot(labels, 4)):
        theirs = by_scikit_learn(features, labels, found.penalty, factor=1)
        logs = theirs.predict_log_proba(standard)[np.arange(count), labels]
        objective = found.penalty / 2 * np.square(theirs.coef_).sum() - logs.mean()
        assert found.objective == pytest.approx(objective, abs=1e-6)
        assert found.objective <= objective + 1e-8
        np.testing.assert_allclose(found.coefficients.T, theirs.coef_, atol=5e-3)


def test_two_classes_are_the_binary_problem_with_opposite_coefficients(rng):
    features, labels = rows(rng, count=80, dims=15, classes=2)
    for found in fit(features, one_hot(labels, 2)):
        theirs = by_scikit_learn(features, labels, found.penalty, factor=2)
        difference = found.coefficients[:, 1] - found.coefficients[:, 0]
        np.testing.assert_allclose(difference, theirs.coef_[0], atol=5e-3)
        np.testing.assert_allclose(found.coefficients.sum(axis=1), 0, atol=1e-9)


def test_labels_that_occur_together_are_independent_problems(rng):
    features, _ = rows(rng, count=90, dims=10, classes=3)
    table = (features[:, :3] / features[:, :3].std(axis=0) + rng.normal(size=(90, 3))) > 0.5
    for found in fit(features, table, multi_label=True):
        for label in range(3):
            theirs = by_scikit_learn(features, table[:, label], found.penalty, factor=1)
            np.testing.assert_allclose(found.coefficients[:, label], theirs.coef_[0], atol=5e-3)
            assert found.intercept[label] == pytest.approx(theirs.intercept_[0], abs=1e-3)


@pytest.mark.parametrize(
    "case", ["row space", "columns kept", "columns streamed", "plain", "plain streamed"]
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_every_form_of_the_problem_has_one_optimum(rng, monkeypatch, case, multi_label):
    count, dims = (50, 90) if case == "row space" else (90, 50)
    features, labels = rows(rng, count=count, dims=dims, classes=3)
    features[:, 5] = 0.7  # constant
    features[:, 7] = features[:, 6]  # repeated
    table = one_hot(labels, 3)
    expected = fit(features, table, multi_label=multi_label)
    if "plain" in case:
        monkeypatch.setattr(design_module, "AXES", 10)
    if "streamed" in case:
        monkeypatch.setattr(design_module, "HELD_BYTES", 0)
    for module in (standardise, design_module):
        monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 700)
    for one, other in zip(fit(features, table, multi_label=multi_label), expected, strict=True):
        assert one.objective == pytest.approx(other.objective, abs=1e-8)
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=2e-2)
        np.testing.assert_allclose(one.coefficients[5], 0, atol=1e-12)
        np.testing.assert_allclose(one.coefficients[7], one.coefficients[6], atol=1e-6)


def test_memory_mapped_features_give_the_same_fit(rng, tmp_path):
    features, labels = rows(rng, count=70, dims=20, classes=3)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for one, other in zip(
        fit(mapped, one_hot(labels, 3)), fit(features, one_hot(labels, 3)), strict=True
    ):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)


def test_a_strong_penalty_leaves_the_frequencies_of_the_classes(rng):
    features, _ = rows(rng, count=100, dims=8, classes=2)
    labels = (np.arange(100) < 20).astype(int)
    standard = fit_standardisation(features)
    (found,) = fit_path(features, standard, one_hot(labels, 2), (1e9,))
    logits = standard.apply(features) @ found.coefficients + found.intercept
    np.testing.assert_allclose(np.exp(log_probabilities(logits)), [[0.8, 0.2]] * 100, atol=1e-6)


def test_log_probabilities_hold_where_probabilities_round_to_zero_or_one():
    logits = np.array([[0.0, 900.0], [-900.0, 3.0]])
    np.testing.assert_allclose(log_probabilities(logits), [[-900, 0], [-903, 0]])
    np.testing.assert_allclose(log_probabilities(logits, multi_label=True), log_expit(logits))


def test_classes_that_separate_perfectly_still_converge(rng, caplog, monkeypatch):
    monkeypatch.setattr(logistic, "STEPS", 100)
    latent = rng.normal(size=(400, 30))
    mixing = rng.normal(size=(30, 380)) * np.exp(-np.arange(380) / 40)
    features = np.maximum(latent @ mixing + 1, 0) + 0.01 * rng.normal(size=(400, 380))
    labels = (latent[:, 0] > 0).astype(int)
    standard = fit_standardisation(features)
    found = fit_path(features, standard, one_hot(labels, 2), [10.0**-k for k in range(1, 9)])
    assert not caplog.records
    assert found[-1].objective < 1e-3
