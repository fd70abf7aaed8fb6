from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from medbench.harness.errors import UsageError
from medbench.harness.metrics.extractors.philox import (
    fan_in_weights,
    raw_words,
    uniform_weights,
    unit_uniform,
)

ENTRIES = json.loads(
    (Path(__file__).parents[3] / "golden" / "philox_entries.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['seed']}-{entry['key']}")
def test_reproduces_the_recorded_tensors_to_the_bit(entry):
    make = fan_in_weights if "gain" in entry["law"] else uniform_weights
    tensor = make(entry["seed"], entry["key"], tuple(entry["shape"]), **entry["law"])
    assert tensor.dtype == np.float32
    assert list(tensor.shape) == entry["shape"]
    assert f"{zlib.crc32(tensor.astype('<f4').tobytes()):08x}" == entry["crc32"]


def test_numbers_are_uniform_in_the_unit_interval():
    u = unit_uniform(7, "a", 20_000)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * 20_000)
    counts, _ = np.histogram(u, bins=20, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # 99.9 % of chi-squared with 19


def test_weights_have_the_spread_that_their_fan_in_asks_for():
    weights = fan_in_weights(1, "layer", (64, 32, 3, 3), gain=1.5)
    assert weights.std() == pytest.approx(1.5 / np.sqrt(32 * 9), rel=0.02)


def test_names_and_seeds_select_different_streams():
    streams = {tuple(raw_words(seed, name, 4)) for seed in (0, 1) for name in ("a", "b")}
    assert len(streams) == 4


def test_a_longer_draw_starts_with_the_shorter_one():
    np.testing.assert_array_equal(raw_words(3, "x", 100)[:10], raw_words(3, "x", 10))
    assert raw_words(3, "x", 0).shape == (0,)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_refuses_seeds_of_more_than_32_bits(seed):
    with pytest.raises(UsageError, match="32 bits"):
        raw_words(seed, "x", 1)
