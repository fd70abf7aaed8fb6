from __future__ import annotations

import numpy as np
import pytest

from medbench.baselines.codec_search import highest_fitting

LOOKAHEAD = 6


def search(sizes, budget):
    fit = highest_fitting(
        lambda q: bytes(sizes[q]), range(len(sizes)), budget_bytes=budget, lookahead=LOOKAHEAD
    )
    return None if fit is None else fit.quality


@pytest.mark.parametrize("budget", range(9, 125))
def test_monotone_sizes_give_the_exact_maximum(budget):
    sizes = [10 + q for q in range(101)]
    fitting = [q for q, size in enumerate(sizes) if size <= budget]
    assert search(sizes, budget) == (fitting[-1] if fitting else None)


@pytest.mark.parametrize("seed", range(20))
def test_sizes_that_fall_back_within_the_lookahead_give_the_exact_maximum(seed):
    random = np.random.default_rng(seed)
    # A size at q + LOOKAHEAD is never below the one at q, as 3·LOOKAHEAD exceeds the jitter.
    jitter = random.integers(0, 3 * LOOKAHEAD, size=101)
    sizes = [int(100 + 3 * q + jitter[q]) for q in range(101)]
    for budget in range(sizes[0], 450, 7):
        fitting = [q for q, size in enumerate(sizes) if size <= budget]
        assert search(sizes, budget) == fitting[-1]


def test_the_stream_is_that_of_the_quality():
    fit = highest_fitting(lambda q: bytes([q]) * q, range(1, 96, 3), budget_bytes=41, lookahead=2)
    assert fit.quality == 40
    assert fit.stream == bytes([40]) * 40


def test_lowest_quality_too_big_is_none():
    assert search([50] * 101, 49) is None


def test_no_quality_is_coded_twice():
    coded = []

    def encode(quality):
        coded.append(quality)
        return bytes(quality)

    highest_fitting(encode, range(101), budget_bytes=37, lookahead=LOOKAHEAD)
    assert len(coded) == len(set(coded)) <= 1 + 7 + LOOKAHEAD
