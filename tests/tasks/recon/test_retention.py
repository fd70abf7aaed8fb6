"""Diagnostic retention: flips and the fall of the AUC, paired, from a cached classifier."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medbench.harness.errors import UsageError
from medbench.harness.statistics.intervals import Interval
from medbench.harness.statistics.proportions import wilson_interval
from medbench.harness.vocabulary import ORIGINALS
from medbench.tasks import classifier
from medbench.tasks.recon import classifier as training
from medbench.tasks.recon.classifier import retention_classifier
from medbench.tasks.recon.retention import (
    RECIPE,
    Answers,
    classes_of,
    near_chance,
    retention,
)

CLASSES = (("ct", "a"), ("ct", "b"), ("mri", "a"), ("mri", "b"), ("mri", "c"))


def stored(labels, *, patients=None):
    rows = [
        SimpleNamespace(group=g, label=label, patient=patients and patients[i])
        for i, (g, label) in enumerate(labels)
    ]
    return SimpleNamespace(rows=rows, fingerprint="abc")


@pytest.fixture
def labels():
    return [("ct", "ab"[i % 2]) for i in range(40)] + [("mri", "abc"[i % 3]) for i in range(60)]


def logits(labels, rng, strength):
    truth = np.array([CLASSES.index(pair) for pair in labels])
    return rng.normal(size=(len(labels), 5)) + strength * np.eye(5)[truth]


def test_copies_flip_nothing_and_lose_nothing(labels, rng):
    scores = logits(labels, rng, 1.0)
    found = retention(stored(labels), Answers(CLASSES, scores, scores))
    flips, drop = found["label_flip_rate", "macro", ""], found["auc_drop", "macro", ""]
    assert flips.value == flips.low == drop.value == drop.low == drop.high == 0
    assert found["label_flip_rate", "ct", ""].high == wilson_interval(0, 40).high
    assert 0 < flips.high < wilson_interval(0, 40).high


def test_values_are_those_of_scikit_learn(labels, rng):
    before, after = logits(labels, rng, 1.5), logits(labels, rng, 0.7)
    found = retention(stored(labels), Answers(CLASSES, before, after))
    ct = np.array([g == "ct" for g, _ in labels])
    truth = np.array([label == "b" for g, label in labels if g == "ct"])
    drop = roc_auc_score(truth, (before[ct, 1] - before[ct, 0])) - roc_auc_score(
        truth, (after[ct, 1] - after[ct, 0])
    )
    assert found["auc_drop", "ct", ""].value == pytest.approx(drop, abs=1e-12)
    flips = before[ct][:, :2].argmax(1) != after[ct][:, :2].argmax(1)
    assert found["label_flip_rate", "ct", ""].value == pytest.approx(flips.mean())
    right = before[ct][:, :2].argmax(1) == truth
    assert found["acc", "ct", ORIGINALS].value == pytest.approx(right.mean())
    both = [found["auc_drop", g, ""].value for g in ("ct", "mri")]
    assert found["auc_drop", "macro", ""].value == pytest.approx(np.mean(both))


def test_a_class_without_test_images_is_said_and_not_averaged_away(labels, rng):
    kept = [pair for pair in labels if pair != ("mri", "c")]
    found = retention(stored(kept), Answers(CLASSES, logits(kept, rng, 1), logits(kept, rng, 1)))
    assert "no AUC for 1 of 3 classes" in found["auc_drop", "mri", ""]
    assert "no AUC" in found["auc_drop", "macro", ""]
    assert found["auc_drop", "ct", ""].value is not None
    assert found["label_flip_rate", "mri", ""].count == 40


def test_a_classifier_that_knows_nothing_is_named_by_group(labels, rng):
    scores = logits(labels, rng, 6.0)
    mri = np.array([group == "mri" for group, _ in labels])
    scores[mri] = [0, 0, 1, 0, 0]  # the same answer to every image
    store = stored(labels)
    found = retention(store, Answers(CLASSES, scores, scores))
    assert near_chance(store, CLASSES, found) == ["mri"]


def test_images_without_a_known_label_are_no_class_when_chance_is_judged():
    """Nine unlabelled images to each labelled one; two classes of equal size."""
    pairs = [("ct", "ab"[i % 2]) for i in range(100)] + [("ct", None)] * 900
    known = {("acc", "ct", ORIGINALS): Interval(0.8, 0.7, 0.9, 100, 100, np.empty(0))}
    assert near_chance(stored(pairs), CLASSES, known) == []


def test_images_whose_label_was_never_trained_are_left_out(labels, rng):
    more = [*labels, ("ct", "new")]
    scores = rng.normal(size=(len(more), 5))
    found = retention(stored(more), Answers(CLASSES, scores, scores))
    assert found["label_flip_rate", "all", ""].count == len(labels)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("ct", "a"), ("ct", "a")], "same label"),
        ([("ct", None)], "none"),
        ([("ct", "x|y"), ("ct", "x")], "several per image"),
    ],
)
def test_sets_that_nothing_can_be_learnt_from_are_refused(pairs, message):
    with pytest.raises(UsageError, match=message):
        classes_of(stored(pairs).rows)


@pytest.mark.slow
def test_the_interval_of_the_auc_drop_covers_the_truth():
    """Paired normal scores of two known AUCs, over many test sets."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    positive = np.arange(120) % 2
    truth = norm.cdf(2 / 2**0.5) - norm.cdf(1 / 2**0.5)
    store = stored([("ct", "ab"[i]) for i in positive])
    inside = 0
    for run in range(60):
        shared, own = rng.normal(size=(2, 120))
        scores = (2 * positive + shared, positive + 0.6 * shared + 0.8 * own)
        pairs = [np.stack([np.zeros(120), each], axis=1) for each in scores]
        store.fingerprint = str(run)
        found = retention(store, Answers(CLASSES[:2], *pairs))["auc_drop", "all", ""]
        inside += found.low <= truth <= found.high
    assert inside >= 52


@pytest.fixture
def striped(tmp_path_factory):
    """Two classes that a small network tells apart at once: vertical and horizontal stripes."""
    rng = np.random.default_rng(0)
    wave = (np.arange(64) // 8 % 2 * 160 + 40).astype(np.uint8)
    images = np.empty((24, 64, 64, 3), np.uint8)
    for i, image in enumerate(images):
        image[:] = (wave[None, :] if i % 2 else wave[:, None])[..., None]
    images += rng.integers(0, 40, images.shape, dtype=np.uint8)
    store = stored([("ct", "ab"[i % 2]) for i in range(24)])
    store.images = images
    return store


def short(monkeypatch, **terms):
    monkeypatch.setattr(training, "RECIPE", replace(RECIPE, side=32, **terms))


def test_the_classifier_learns_is_cached_and_is_the_same_again(striped, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    short(monkeypatch, steps=12, batch=8)
    first = retention_classifier(striped, device="cpu")
    answers = first.name(striped.images)
    assert (answers == np.arange(24) % 2).mean() > 0.9
    monkeypatch.setattr(classifier, "_train", None)  # a second training would fail
    again = retention_classifier(striped, device="cpu")
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.logits(striped.images), first.logits(striped.images))


def test_another_training_part_or_recipe_is_another_classifier(striped, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    short(monkeypatch, steps=1, batch=2)
    retention_classifier(striped, device="cpu")
    striped.fingerprint = "other"
    retention_classifier(striped, device="cpu")
    short(monkeypatch, steps=2, batch=2)
    retention_classifier(striped, device="cpu")
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


@pytest.mark.slow
def test_retention_runs_from_the_command_to_the_record(measure, monkeypatch):
    short(monkeypatch, steps=2, batch=8)
    record = measure("down16", dataset="medsynth", limit=2, options={"retention": "yes"})
    flips = record.metric("label_flip_rate", "macro")
    assert 0 <= flips.value <= 1
    assert flips.flags[0].startswith("classifier ")
    facts = record.definitions[flips.definition].facts
    assert facts["classifier"]["network"]
    assert record.metric("acc", "macro", ORIGINALS).value is not None
    assert record.identity.parts["train"]
