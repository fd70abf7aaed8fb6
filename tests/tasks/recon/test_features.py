"""The cache of the originals' features: keyed by all that changes them, and safe to fill."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.harness import ranks
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


def test_what_is_joined_is_mapped_and_not_written_again(cache):
    original_features(Store(), Counting(2), device="cpu")
    (joined,) = cache.rglob("features.npy")
    before = joined.stat().st_ino
    for shard in cache.rglob("shard-*.npz"):
        shard.unlink()
    again = Counting(2)
    original_features(Store(), again, device="cpu")
    assert again.calls == 0
    assert joined.stat().st_ino == before


def test_a_damaged_join_is_made_again_from_its_shards(cache):
    want = np.array(original_features(Store(), Counting(2), device="cpu"))
    (joined,) = cache.rglob("features.npy")
    damaged = bytearray(joined.read_bytes())
    damaged[-1] ^= 1
    joined.write_bytes(damaged)
    again = Counting(2)
    np.testing.assert_array_equal(original_features(Store(), again, device="cpu"), want)
    assert again.calls == 0


def test_of_several_ranks_one_joins_and_all_take_the_first_shard(cache, monkeypatch):
    path = cache / "x.npy"
    np.save(path, np.ones((4, 2), np.float32))
    monkeypatch.setattr(ranks, "first", lambda work: None)  # as of the second rank
    taken = []
    parts = (taken.append(i) or np.zeros((4, 2), np.float32) for i in range(3))
    np.testing.assert_array_equal(mapped(parts, path, 12), 1.0)
    assert taken == [0]
