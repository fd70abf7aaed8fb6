"""Codes are drawn from the distribution that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.tasks.synthesis.generator.draws import choose, image_numbers, restricted
from medbench.tasks.synthesis.generator.sampling import Sampling


def _softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("size", [5, 128, 300])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_frequencies_are_the_softmax(rng, size, temperature):
    logits = rng.normal(size=size) * 2
    count = 200_000
    numbers = torch.linspace(0, 1, count + 1, dtype=torch.float64)[:-1]
    row = torch.tensor(logits, dtype=torch.float32).expand(1, -1)
    found = torch.cat(
        [
            choose(row.expand(len(part), -1), part, Sampling(temperature=temperature))
            for part in numbers.split(5000)
        ]
    )
    shares = np.bincount(found.numpy(), minlength=size) / count
    np.testing.assert_allclose(shares, _softmax(logits / temperature), atol=3e-5)


def test_top_k_and_top_p_keep_what_they_say(rng):
    logits = rng.normal(size=50) * 3
    row = torch.tensor(logits)[None]
    order = np.argsort(-logits)
    kept = torch.isfinite(restricted(row, Sampling(top_k=7)))[0].numpy()
    assert set(np.flatnonzero(kept)) == set(order[:7])
    shares = _softmax(logits)[order]
    needed = int(np.searchsorted(shares.cumsum(), 0.8)) + 1
    kept = torch.isfinite(restricted(row, Sampling(top_p=0.8)))[0].numpy()
    assert set(np.flatnonzero(kept)) == set(order[:needed])


@pytest.mark.parametrize("number", [0.0, 0.3, 1 - 2.0**-53])
def test_codes_without_a_share_are_never_chosen(number):
    logits = torch.full((1, 300), -torch.inf)
    logits[0, [130, 131]] = 0.0
    found = choose(logits, torch.tensor([number], dtype=torch.float64), Sampling())
    assert int(found) in (130, 131)


def test_numbers_belong_to_the_image_and_the_seed():
    first = image_numbers(3, [5, 9], 40)
    assert torch.equal(first[1], image_numbers(3, [9], 40)[0])
    assert not torch.equal(first[0], image_numbers(4, [5], 40)[0])
    assert first.min() >= 0
    assert first.max() < 1


@pytest.mark.parametrize(
    "terms",
    [
        {"temperature": 0.0},
        {"top_p": 0.0},
        {"top_k": -1},
        {"cfg_scale": 0.5},
        {"rows": 0},
        {"top_k": 1.5},
        {"rows": True},
        {"temperature": "1"},
        {"top_p": None},
    ],
)
def test_impossible_sampling_is_refused(terms):
    with pytest.raises(UsageError, match=next(iter(terms))):
        Sampling(**terms)
