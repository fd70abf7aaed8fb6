from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from medbench.harness.errors import MetricError
from medbench.harness.metrics.classification import (
    RankedScores,
    accuracy,
    balanced_accuracy,
    class_numbers,
    label_accuracy,
    one_hot,
    recalls,
    worst_class_recall,
)
from medbench.harness.statistics.bootstrap import Sample, bootstrap_statistic

SCORES = {
    "continuous": lambda rng, shape: rng.normal(size=shape),
    "many ties": lambda rng, shape: rng.integers(0, 4, shape).astype(float),
    "one value": lambda rng, shape: np.zeros(shape),
    "float32": lambda rng, shape: rng.normal(size=shape).astype(np.float32),
}


def probabilities(rng, labels, classes):
    logits = rng.normal(size=(len(labels), classes)) + 1.5 * one_hot(labels, classes)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("classes", [2, 5])
def test_per_class_values_are_those_of_scikit_learn(rng, kind, classes):
    labels = rng.permutation(np.arange(83) % classes)
    scores = SCORES[kind](rng, (83, classes))
    ranked, members = RankedScores(labels, scores), one_hot(labels, classes)
    by_class = list(zip(members.T, scores.T, strict=True))
    aps = [sklearn_metrics.average_precision_score(*each) for each in by_class]
    aucs = [sklearn_metrics.roc_auc_score(*each) for each in by_class]
    np.testing.assert_allclose(ranked.average_precisions(), aps, atol=1e-12)
    np.testing.assert_allclose(ranked.roc_aucs(), aucs, atol=1e-12)


@pytest.mark.parametrize("kind", ["continuous", "many ties"])
def test_values_on_rows_are_those_of_the_repeated_rows(rng, kind):
    labels, scores = np.arange(60) % 3, SCORES[kind](rng, (60, 3))
    rows = rng.integers(0, 60, 45)
    drawn, direct = RankedScores(labels, scores), RankedScores(labels[rows], scores[rows])
    np.testing.assert_allclose(
        drawn.average_precisions(rows), direct.average_precisions(), atol=1e-12
    )
    np.testing.assert_allclose(drawn.roc_aucs(rows), direct.roc_aucs(), atol=1e-12)


@pytest.mark.parametrize(
    ("task", "classes"), [("multi-class", 4), ("ordinal regression", 5), ("binary-class", 2)]
)
def test_auc_and_accuracy_are_those_of_medmnist(rng, task, classes):
    evaluator = pytest.importorskip("medmnist.evaluator")
    labels = rng.permutation(np.arange(101) % classes)
    scores = probabilities(rng, labels, classes)
    assert RankedScores(labels, scores).mean_auc() == pytest.approx(
        evaluator.getAUC(labels[:, None], scores, task), abs=1e-12
    )
    assert accuracy(labels, scores) == pytest.approx(
        evaluator.getACC(labels[:, None], scores, task), abs=1e-12
    )


@pytest.mark.parametrize("labels", [2, 14])
def test_auc_of_labels_that_occur_together_is_that_of_medmnist(rng, labels):
    evaluator = pytest.importorskip("medmnist.evaluator")
    truth = rng.integers(0, 2, (70, labels))
    scores = rng.random((70, labels)) + 0.3 * truth
    expected = evaluator.getAUC(truth, scores, "multi-label, binary-class")
    assert RankedScores(truth, scores).mean_auc() == pytest.approx(expected, abs=1e-12)


def test_map_of_a_binary_set_counts_both_classes(rng):
    labels = np.array([0] * 12 + [1] * 30)
    scores = probabilities(rng, labels, 2)
    positive = sklearn_metrics.average_precision_score(labels, scores[:, 1])
    negative = sklearn_metrics.average_precision_score(1 - labels, scores[:, 0])
    found = RankedScores(labels, scores).mean_average_precision()
    assert found == pytest.approx((positive + negative) / 2, abs=1e-12)
    assert abs(found - positive) > 0.01


def test_accuracies_are_those_of_scikit_learn(rng):
    labels = rng.integers(0, 4, 90)
    scores = rng.normal(size=(90, 4)) + one_hot(labels, 4)
    answers = scores.argmax(axis=1)
    per_class = sklearn_metrics.recall_score(labels, answers, average=None)
    np.testing.assert_allclose(recalls(labels, scores), per_class, atol=1e-12)
    assert accuracy(labels, scores) == sklearn_metrics.accuracy_score(labels, answers)
    assert balanced_accuracy(labels, scores) == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, answers), abs=1e-12
    )
    assert worst_class_recall(labels, scores) == pytest.approx(min(per_class), abs=1e-12)


@pytest.mark.parametrize("metric", ["mean_average_precision", "mean_auc"])
def test_a_mean_over_classes_refuses_a_class_without_images(rng, metric):
    ranked = RankedScores(np.array([0, 1, 0, 1]), rng.normal(size=(4, 3)))
    assert np.isnan(ranked.average_precisions()).tolist() == [False, False, True]
    assert np.isnan(ranked.roc_aucs()).tolist() == [False, False, True]
    with pytest.raises(MetricError, match=r"1 of 3 classes \(numbers \[2\]\)"):
        getattr(ranked, metric)()


def test_equal_labels_have_no_auc(rng):
    with pytest.raises(MetricError, match="no AUC"):
        RankedScores(np.ones(5, dtype=int), rng.normal(size=(5, 2))).mean_auc()


def test_balanced_accuracy_refuses_a_class_without_images(rng):
    labels, scores = np.array([0, 0, 1]), rng.normal(size=(3, 3))
    for metric in (balanced_accuracy, worst_class_recall):
        with pytest.raises(MetricError, match="no recall"):
            metric(labels, scores)


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        (np.array([0, 1]), np.array([[0.1, np.nan], [0.2, 0.3]]), "1 of 2 rows .* not finite"),
        (np.array([0, 2]), np.zeros((2, 2)), "labels run from 0 to 2"),
        (np.array([-1, 1]), np.zeros((2, 2)), "labels run from -1"),
        (np.array([0.0, 1.0]), np.zeros((2, 2)), "class numbers"),
        (np.array([0, 1, 1]), np.zeros((2, 2)), "does not fit"),
        (np.full((2, 2), 3), np.zeros((2, 2)), "zeros and ones"),
        (np.array([0, 1]), np.zeros(2), r"\(images, classes\)"),
        (np.zeros(0, dtype=int), np.zeros((0, 2)), r"\(images, classes\)"),
    ],
)
def test_bad_input_is_refused(truth, scores, message):
    with pytest.raises(MetricError, match=message):
        RankedScores(truth, scores)


def test_accuracy_refuses_tables_of_labels():
    with pytest.raises(MetricError, match="one class per image"):
        accuracy(np.eye(3, dtype=int), np.eye(3))


def test_class_numbers_follow_the_order_of_the_classes():
    assert class_numbers(["b", "a", "b"], ["a", "b"]).tolist() == [1, 0, 1]
    with pytest.raises(MetricError, match="'c' are none of the 2 classes"):
        class_numbers(["a", "c"], ["a", "b"])


def test_bootstrap_interval_of_the_auc_has_the_width_of_its_known_variance(rng):
    # Two normal distributions one standard deviation apart; DeLong's variance as the oracle.
    labels = np.repeat([0, 1], 120)
    belief = rng.normal(size=240) + labels
    ranked = RankedScores(labels, np.stack([-belief, belief], axis=1))
    names = [str(label) for label in labels]
    interval = bootstrap_statistic(ranked.mean_auc, Sample("f", names), replicates=400)
    wins = (belief[labels == 1][:, None] > belief[labels == 0]).astype(float)
    variance = wins.mean(axis=1).var(ddof=1) / 120 + wins.mean(axis=0).var(ddof=1) / 120
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.15)


def test_accuracy_of_labels_that_occur_together_is_that_of_medmnist(rng):
    evaluator = pytest.importorskip("medmnist.evaluator")
    truth, probabilities = rng.integers(0, 2, (70, 14)), rng.random((70, 14))
    expected = evaluator.getACC(truth, probabilities, "multi-label, binary-class")
    assert label_accuracy(truth, np.log(probabilities)) == pytest.approx(expected, abs=1e-12)
