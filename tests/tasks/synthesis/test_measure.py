"""What is measured of features: which real images stand beside samples, and who has copied."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medbench.harness.record import Definition
from medbench.tasks.recon.features import available_space
from medbench.tasks.synthesis.measure import (
    ClassSets,
    add_distances,
    add_nearest,
    add_real_names,
    pooled,
)
from medbench.tasks.synthesis.reference import CONTAINS_TRAINING, RealImage, ReferenceClass
from medbench.tasks.synthesis.scores import Scores, Value

DIMS = 4


def _scores(*names):
    definitions = {name: Definition(id=name, facts={}) for name in names}
    return Scores(definitions, ("a", "b"), macro=False)


def _value(scores, group, setting=""):
    (found,) = [m for m in scores.metrics if (m.group, m.setting) == (group, setting)]
    return found


def _sets(rng, name, *, level, learnt, held_out=120, copies=0.0, training=None):
    """A class whose features lie about `level`; a share of its samples are training images."""
    reference = rng.normal(level, 1, (120, DIMS))
    is_held_out = np.arange(120) < held_out
    samples = rng.normal(level, 1, (120, DIMS))
    if training is not None:
        reference[~is_held_out] = training[learnt[: 120 - held_out]]
        samples[: int(120 * copies)] = training[learnt[: int(120 * copies)]]
    real = rng.normal(level, 1, (120, DIMS))
    return ClassSets(
        name, reference, is_held_out, reference, real, learnt, (samples,), (), samples[:5]
    )


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"a": "no network", "b": "no network"}, "no network"),
        ({"a": "no network", "b": "few images"}, "no mean over the classes: absent in all of them"),
        ({"a": Value((1.0,), 5), "b": "few"}, "no mean over the classes: absent in b"),
    ],
)
def test_a_mean_that_is_missing_says_why(groups, reason):
    scores = _scores("gfid")
    scores.macro = True
    scores.add("gfid", groups)
    assert _value(scores, "macro").reason == reason


def test_pooled_real_images_are_of_every_class(rng):
    space = available_space()
    sets = [
        _sets(rng, name, level=level, learnt=np.arange(3)) for name, level in (("a", 0), ("b", 50))
    ]
    scores = _scores("gfd_random", "kid_random", "gfid", "kid")
    add_distances(scores, space, [*sets, pooled(sets)], {})
    name = {"rfid": "gfid", "rfd_random": "gfd_random"}[space.frechet]
    (found,) = [m for m in scores.metrics if (m.name, m.group, m.setting) == (name, "all", "real")]
    # Two samples of one distribution; with one class alone, the means were 25 apart.
    assert found.value < 5


def test_too_few_other_real_images_give_a_reason_and_no_number(rng):
    one = _sets(rng, "a", level=0, learnt=np.arange(3))
    few = replace(one, real=one.real[:50])
    scores = _scores("gfd_random", "kid_random", "gfid", "kid")
    add_distances(scores, available_space(), [few], {})
    absent = [m for m in scores.metrics if m.setting == "real"]
    assert len(absent) == 2
    assert all("only 50 real images" in m.reason for m in absent)


@pytest.mark.parametrize("held_out", [120, 36])
def test_copies_of_training_images_are_seen_whatever_the_reference_holds(rng, held_out):
    training = rng.normal(size=(400, DIMS)).astype(np.float32)
    learnt = np.arange(100, 400)
    found = {}
    for copies in (0.0, 0.7):
        scores = _scores("nearest_training")
        one = _sets(
            rng, "a", level=0, learnt=learnt, held_out=held_out, copies=copies, training=training
        )
        near = add_nearest(scores, [one], training)["a"]
        assert np.isin(near.rows[0], learnt).all()
        found[copies] = _value(scores, "a").value
    assert found[0.0] == pytest.approx(1, abs=0.25)
    assert found[0.7] < 0.45


def test_copies_that_the_tokenizer_blurs_have_their_own_distance_beside_the_samples(rng):
    training = rng.normal(size=(400, DIMS)).astype(np.float32)
    learnt = np.arange(100, 400)
    blurred = training[learnt] + rng.normal(0, 0.05, (300, DIMS))
    one = _sets(rng, "a", level=0, learnt=learnt)
    one = replace(one, samples=(blurred[:120],), copies=blurred[120:152])
    scores = _scores("nearest_training")
    add_nearest(scores, [one, pooled([one, one])], training)
    samples, copies = _value(scores, "a"), _value(scores, "a", "floor")
    assert copies.n == 32
    assert 0.05 < copies.value == pytest.approx(samples.value, rel=0.25)
    assert _value(scores, "all", "floor").n == 64


def _reference(name, held_out, total):
    images = tuple(RealImage("" if k < held_out else "train", k) for k in range(total))
    return ReferenceClass(name, images, flags=(CONTAINS_TRAINING,) if held_out < total else ())


def test_namer_is_not_asked_about_images_that_it_learnt_where_there_are_others():
    reference = [_reference("a", 6, 10), _reference("b", 2, 10)]
    named = np.zeros(20, dtype=np.int64)
    named[:3] = 1  # half of the held-out ones of class a are wrong
    scores = _scores("class_accuracy")
    add_real_names(scores, reference, named, setting="floor")
    a, b = _value(scores, "a", "floor"), _value(scores, "b", "floor")
    assert (a.value, a.n, a.flags) == (0.5, 6, [])
    assert (b.value, b.n, b.flags) == (0.0, 10, [CONTAINS_TRAINING])
    assert _value(scores, "all", "floor").flags == [CONTAINS_TRAINING]


def test_reference_of_training_images_alone_tells_nothing_of_copies(rng):
    training = rng.normal(size=(400, DIMS)).astype(np.float32)
    one = _sets(rng, "a", level=0, learnt=np.arange(200), held_out=4, training=training)
    scores = _scores("nearest_training")
    assert add_nearest(scores, [one], training) == {}
    for setting in ("", "floor"):
        reason = _value(scores, "a", setting).reason
        assert "only 4 images of the reference are no training images" in reason


def test_classes_keep_the_values_of_their_seeds_for_comparisons():
    scores = _scores("gfd_random")
    scores.add("gfd_random", {"all": Value((3.0, 3.5), 900), "a": Value((2.0, 2.5), 100)})
    assert list(_value(scores, "a").replicates) == [2.0, 2.5]


def test_interval_is_students_of_the_mean_over_seeds():
    seeds = (3.0, 3.5, 2.75, 3.25, 3.5)
    scores = _scores("gfd_random")
    scores.add("gfd_random", {"all": Value(seeds, 900), "a": Value((3.0,), 100)})
    found = _value(scores, "all")
    ends = stats.t.interval(0.95, 4, np.mean(seeds), stats.sem(seeds))
    assert (found.low, found.high) == pytest.approx(ends)
    assert list(found.replicates) == list(seeds)
    assert found.flags == ["5 sampling seeds, standard deviation 0.326"]
    assert _value(scores, "a").low is None


@pytest.mark.parametrize(
    ("name", "seeds", "wanted"),
    [
        ("recall", (0.5, 1.0), (0.0, 1.0)),
        ("density", (0.1, 1.4), (0.0, None)),
        ("kid", (0.001, -0.002), (None, None)),
    ],
)
def test_interval_ends_where_the_metrics_range_does(name, seeds, wanted):
    scores = _scores(name)
    scores.add(name, {"a": Value(seeds, 10)})
    (found,) = scores.metrics
    margin = stats.t.ppf(0.975, 1) * np.std(seeds, ddof=1) / np.sqrt(2)
    free = np.mean(seeds) - margin, np.mean(seeds) + margin
    ends = [end if cut is None else cut for end, cut in zip(free, wanted, strict=True)]
    assert [found.low, found.high] == pytest.approx(ends)
