"""The cache of the originals' features: keyed by all that changes them, and safe to fill."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.harness.errors import UsageError
from medbench.tasks.recon.features import mapped, original_features


class Counting:
    """An extractor whose features are the mean colour times its weights."""

    def __init__(self, weights):
        self.definition = {"name": "counting", "weights_sha256": str(weights)}
        self.weights, self.calls = weights, 0

    def __call__(self, images):
        self.calls += 1
        return images.mean(axis=(1, 2)).astype(np.float32) * self.weights


class Store:
    """Ten images."""

    def __init__(self, fingerprint="abc"):
        self.images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
        self.fingerprint, self.rows = fingerprint, [SimpleNamespace()] * 10

    def __len__(self):
        return 10

    def read(self, start, stop):
        return self.images[start:stop]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    return tmp_path


def test_features_are_computed_once_and_then_read_from_disk():
    first, second = Counting(2), Counting(2)
    one = original_features(Store(), first, device="cpu")
    again = original_features(Store(), second, device="cpu")
    np.testing.assert_array_equal(one, again)
    assert isinstance(again, np.memmap)
    assert first.calls > 0
    assert second.calls == 0


@pytest.mark.parametrize(
    ("weights", "fingerprint", "device"),
    [(3, "abc", "cpu"), (2, "def", "cpu"), (2, "abc", "cuda")],
    ids=["other weights", "other images", "other kind of device"],
)
def test_a_cache_from_something_else_is_not_used(weights, fingerprint, device):
    original_features(Store(), Counting(2), device="cpu")
    other = Counting(weights)
    original_features(Store(fingerprint), other, device=device)
    assert other.calls > 0


def test_a_damaged_shard_is_computed_again(cache):
    want = np.array(original_features(Store(), Counting(2), device="cpu"))
    (shard,) = cache.rglob("shard-*.npz")
    shard.write_bytes(shard.read_bytes()[:100])
    np.testing.assert_array_equal(original_features(Store(), Counting(2), device="cpu"), want)


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing_behind(cache, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        mapped([np.zeros((2, 3), np.float32)], cache / "features.npy", 2)
    assert list(cache.iterdir()) == []


def test_shards_are_joined_in_their_order(cache):
    parts = [np.full((4, 2), i, np.float32) for i in range(3)]
    found = mapped(iter(parts), cache / "x.npy", 12)
    np.testing.assert_array_equal(found, np.concatenate(parts))
