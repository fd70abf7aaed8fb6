from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from medbench.harness.errors import MetricError
from medbench.harness.metrics.classification import RankedScores
from medbench.harness.probing.linear import PENALTIES, Labelled, fit_linear_probe

CENTRES = np.random.default_rng(5).normal(size=(4, 30))


def images(rng, count, *, classes=4, noise=3.0):
    labels = np.arange(count) % classes
    features = CENTRES[labels] + noise * rng.normal(size=(count, 30))
    return Labelled(features.astype(np.float32), labels)


def test_chooses_as_a_search_with_scikit_learn_does(rng):
    train, validation, test = images(rng, 80), images(rng, 60), images(rng, 200)
    probe = fit_linear_probe(train, validation)
    scaler = StandardScaler().fit(train.features.astype(np.float64))

    def scaled(x):
        return scaler.transform(x.astype(np.float64)) / np.sqrt(30)

    aucs, answers = {}, {}
    for penalty in PENALTIES:
        model = LogisticRegression(C=1 / (80 * penalty), tol=1e-9, max_iter=10_000)
        model.fit(scaled(train.features), train.truth)
        seen = model.predict_proba(scaled(validation.features))
        aucs[penalty] = roc_auc_score(validation.truth, seen, multi_class="ovr")
        answers[penalty] = model.predict_log_proba(scaled(test.features))
    for penalty, auc in probe.validation_aucs.items():
        assert auc == pytest.approx(aucs[penalty], abs=2e-3)
    best = max(sorted(aucs, reverse=True), key=aucs.__getitem__)
    assert probe.fit.penalty == best
    np.testing.assert_allclose(probe.scores(test.features), answers[best], atol=1e-3)


def test_the_strongest_of_equally_good_penalties_wins(rng):
    train = images(rng, 40, classes=2, noise=0.1)
    probe = fit_linear_probe(train, images(rng, 40, classes=2, noise=0.1))
    assert set(probe.validation_aucs.values()) == {1.0}
    assert probe.fit.penalty == max(PENALTIES)


def test_scores_of_classes_are_log_probabilities(rng):
    probe = fit_linear_probe(images(rng, 80), images(rng, 40))
    scores = probe.scores(images(rng, 25).features)
    assert scores.shape == (25, 4)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)


def test_labels_that_occur_together_are_probed(rng):
    def several(count):
        features = rng.normal(size=(count, 6)).astype(np.float32)
        truth = (features[:, :3] + 0.3 * rng.normal(size=(count, 3)) > 0.4).astype(int)
        return Labelled(features, truth)

    train, validation, test = several(150), several(80), several(300)
    probe = fit_linear_probe(train, validation)
    scores = probe.scores(test.features)
    assert RankedScores(test.truth, scores).mean_auc() > 0.95
    # Independent labels: probabilities of an image do not sum to one.
    assert np.exp(scores).sum(axis=1).max() > 1.5


def test_labels_at_random_score_as_chance(rng):
    def noise(count):
        return Labelled(rng.normal(size=(count, 50)), rng.permutation(np.arange(count) % 3))

    probe = fit_linear_probe(noise(90), noise(90))
    test = noise(900)
    ranked = RankedScores(test.truth, probe.scores(test.features))
    assert ranked.mean_auc() == pytest.approx(0.5, abs=0.05)
    assert ranked.mean_average_precision() == pytest.approx(1 / 3, abs=0.05)


def test_repeats_exactly(rng):
    train, validation = images(rng, 60), images(rng, 40)
    one, other = (fit_linear_probe(train, validation) for _ in range(2))
    np.testing.assert_array_equal(one.fit.coefficients, other.fit.coefficients)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (Labelled(a.features, a.truth * 2), b), r"classes \[1, 3, 5\] of 7"),
        (lambda a, b: (Labelled(a.features, a.truth * 0), b), r"nothing but, classes \[0\] of 1"),
        (lambda a, b: (a, Labelled(b.features, b.truth % 3)), "no AUC"),
        (lambda a, b: (a, Labelled(b.features, b.truth + 1)), "labels run from 1 to 4"),
        (lambda a, b: (a, Labelled(b.features[:, :4], b.truth)), "sizes differ"),
        (lambda a, b: (Labelled(a.features * np.nan, a.truth), b), "not finite"),
        (lambda a, b: (Labelled(a.features, np.eye(4, dtype=int)[a.truth]), b), "same form"),
        (lambda a, b: (Labelled(a.features, a.truth - 1), b), "labels run from -1"),
        (lambda a, b: (Labelled(a.features, a.truth[:-1]), b), r"40 rows .* got int64 \(39,\)"),
        (lambda a, b: (Labelled(a.features, a.truth.astype(str)), b), "got <U"),
        (lambda a, b: (Labelled(a.features, np.full((40, 2), 7)),) * 2, "zeros and ones"),
    ],
)
def test_bad_input_is_refused(rng, change, message):
    with pytest.raises(MetricError, match=message):
        fit_linear_probe(*change(images(rng, 40), images(rng, 40)))


def test_features_of_another_size_are_refused(rng):
    probe = fit_linear_probe(images(rng, 40), images(rng, 40))
    with pytest.raises(MetricError, match="fitted on 30 features per image, got 7"):
        probe.scores(np.zeros((4, 7)))
