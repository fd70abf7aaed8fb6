from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import MetricError
from medbench.harness.metrics.classification import RankedScores, one_hot
from medbench.harness.probing import adam
from medbench.harness.probing.adam import AdamTerms, adam_scores
from medbench.harness.probing.linear import Labelled


def data(rng, count=90, dims=6):
    labels = np.arange(count) % 3
    features = rng.normal(size=(count, dims)) + 2 * np.eye(dims)[labels]
    return Labelled(features.astype(np.float32), labels)


def by_autograd(train, other, *, epochs, seed, multi_label):
    """The same probe as a torch layer with autograd, from the same first weights and order."""
    generator = torch.Generator().manual_seed(seed)
    dims, classes = train.features.shape[1], 3
    start = (torch.rand((dims + 1, classes), generator=generator) * 2 - 1) * dims**-0.5
    layer = torch.nn.Linear(dims, classes)
    layer.weight.data, layer.bias.data = start[:-1].T.clone(), start[-1].clone()
    loss = torch.nn.BCEWithLogitsLoss() if multi_label else torch.nn.CrossEntropyLoss()
    targets = torch.from_numpy(train.truth)
    targets = targets.float() if multi_label else targets
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(targets), generator=generator).split(32):
            optimiser.zero_grad()
            # BCEWithLogitsLoss averages over labels too; the probe sums over them.
            value = loss(layer(torch.from_numpy(train.features)[rows]), targets[rows])
            (value * (classes if multi_label else 1)).backward()
            optimiser.step()
    return layer(torch.from_numpy(other)).detach().numpy()


@pytest.mark.parametrize("multi_label", [False, True])
def test_is_adam_on_a_linear_layer(rng, multi_label):
    train = data(rng)
    if multi_label:
        train = Labelled(train.features, one_hot(train.truth, 3).astype(int))
    other = data(rng).features
    terms = AdamTerms(batch=32, epochs=25)
    *_, last = adam_scores(train, other, seed=5, terms=terms)
    expected = by_autograd(train, other, epochs=25, seed=5, multi_label=multi_label)
    np.testing.assert_allclose(last, expected, atol=1e-4)


def test_gives_scores_after_every_epoch_and_learns(rng):
    train, test = data(rng), data(rng)
    terms = AdamTerms(learning_rate=0.02, epochs=60)
    epochs = adam_scores(train, test.features, seed=0, terms=terms)
    aucs = [RankedScores(test.truth, scores).mean_auc() for scores in epochs]
    assert len(aucs) == 60
    assert aucs[-1] > max(0.9, aucs[0])


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [
        ([1.0], 11),  # the first epoch, and ten that are no better
        ([1.0, 0.9995, 0.9989], 13),  # together 0.1 % count
        ([1.0, 0.9995, 0.99901], 11),
        ([1.0] * 9 + [0.9], 20),
        ([0.5**epoch for epoch in range(300)], 200),
    ],
)
def test_stops_after_ten_epochs_without_a_thousandth_or_after_200(rng, monkeypatch, losses, epochs):
    following = iter([*losses, *[losses[-1]] * 300])
    monkeypatch.setattr(adam._Fit, "epoch", lambda _: next(following))
    train = data(rng)
    assert len(list(adam_scores(train, train.features, seed=0))) == epochs


def test_a_set_on_which_nothing_can_be_learnt_ends_long_before_the_last_epoch(rng):
    train = data(rng)
    same = Labelled(np.zeros_like(train.features), train.truth)
    terms = AdamTerms(learning_rate=0.1, batch=90)
    assert len(list(adam_scores(same, same.features, seed=0, terms=terms))) < 60


def test_a_seed_repeats_and_another_does_not(rng):
    train = data(rng)
    terms = AdamTerms(epochs=3)
    one, same, other = (
        list(adam_scores(train, train.features, seed=seed, terms=terms))[-1] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_features_of_another_size_or_not_finite_are_refused(rng):
    train = data(rng)
    with pytest.raises(MetricError, match=r"6 dimensions, the others shape \(90, 5\)"):
        next(adam_scores(train, train.features[:, :5], seed=0))
    broken = Labelled(train.features * np.nan, train.truth)
    with pytest.raises(MetricError, match="not finite"):
        next(adam_scores(broken, train.features, seed=0))
