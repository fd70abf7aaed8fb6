from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from medbench.harness import array_cache
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import CellFailed, RunAgain, UsageError
from medbench.harness.locations import cache_root
from medbench.harness.probing.feature_cache import FeatureSource, cached_features
from medbench.harness.protocol import Encoding, TokenizerInfo
from medbench.harness.registry import load_dataset
from medbench.harness.shards import BatchSize

COUNT = 70  # more than one shard


class Cells:
    """Mean colours of 4 x 4 cells times a weight; counts the images that it is given."""

    def __init__(self, weight=1.0):
        self.info = TokenizerInfo("cells", "test", "discrete")
        self.weight, self.seen = weight, 0

    def encode(self, images):
        self.seen += len(images)
        return Encoding(latents=torch.nn.functional.adaptive_avg_pool2d(images, 4) * self.weight)

    def decode(self, encoding):
        return encoding.latents

    def features(self, images):
        return self.encode(images).latents.flatten(2).transpose(1, 2)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "probe-features"


@pytest.fixture
def store(cache, tmp_path, rng):
    (tmp_path / "set" / "ct").mkdir(parents=True)
    for index in range(COUNT):
        image = rng.integers(1, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "set" / "ct" / f"{index:02d}.png")
    return ingest(load_dataset(f"folder:{tmp_path / 'set'}"))


def source(tokenizer, weights="a", size=8):
    return FeatureSource(tokenizer, {"weights": weights}, BatchSize(size, device="cpu"), "cpu")


def expected(store, weight=1.0):
    cells = store.images.reshape(COUNT, 4, 64, 4, 64, 3).mean(axis=(2, 4)) / 255 * weight
    return cells.transpose(0, 3, 1, 2).reshape(COUNT, -1)


def test_features_are_those_of_the_tokenizer_memory_mapped(store):
    found = cached_features(source(Cells()), store, ["flat", "mean"])
    flat, mean = found["flat"].rows, found["mean"].rows
    assert isinstance(flat, np.memmap)
    assert flat.dtype == np.float32
    np.testing.assert_allclose(flat, expected(store), atol=1e-5)
    np.testing.assert_allclose(mean, expected(store).reshape(COUNT, 3, 16).mean(axis=2), atol=1e-5)


def test_are_computed_once_and_in_one_pass(store):
    tokenizer = Cells()
    first = cached_features(source(tokenizer), store, ["flat", "mean"])
    assert tokenizer.seen == COUNT
    again = cached_features(source(tokenizer), store, ["flat", "mean"])
    assert tokenizer.seen <= COUNT + 4, "only the spot checks"
    np.testing.assert_array_equal(again["flat"].rows, first["flat"].rows)
    assert again["flat"].seconds == first["flat"].seconds > 0


def test_another_weights_cache_is_not_used(store):
    cached_features(source(Cells()), store, ["flat"])
    other = cached_features(source(Cells(2.0), weights="b"), store, ["flat"])
    np.testing.assert_allclose(other["flat"].rows, expected(store, 2.0), atol=1e-5)


def test_other_code_under_the_same_name_and_hash_is_found_out(store, caplog):
    cached_features(source(Cells()), store, ["flat"])
    other = cached_features(source(Cells(1.2)), store, ["flat"])
    assert "gives other values now" in caplog.text
    np.testing.assert_allclose(other["flat"].rows, expected(store, 1.2), atol=1e-5)


def test_facts_copied_from_other_weights_are_found_out(store, cache, caplog):
    cached_features(source(Cells()), store, ["flat"])
    (kept,) = cache.iterdir()
    cached_features(source(Cells(2.0), weights="b"), store, ["flat"])
    (other,) = set(cache.iterdir()) - {kept}
    shutil.rmtree(other)
    kept.rename(other)
    found = cached_features(source(Cells(2.0), weights="b"), store, ["flat"])
    assert "another identity" in caplog.text
    np.testing.assert_allclose(found["flat"].rows, expected(store, 2.0), atol=1e-5)


@pytest.mark.parametrize("damage", ["a byte", "a row less", "no json", "another type"])
def test_a_damaged_entry_is_computed_again(store, cache, damage, caplog):
    cached_features(source(Cells()), store, ["flat"])
    (folder,) = cache.iterdir()
    path = folder / "array.npy"
    rows = np.load(path)
    if damage == "a byte":
        with path.open("r+b") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"\x42")
    elif damage == "no json":
        (folder / "facts.json").write_text("{")
    else:
        np.save(path, rows[:-1] if damage == "a row less" else rows.astype(np.float64))
    found = cached_features(source(Cells()), store, ["flat"])
    assert "not used" in caplog.text
    np.testing.assert_allclose(found["flat"].rows, expected(store), atol=1e-5)


def killed_after_one_shard(store, tokenizer, monkeypatch):
    write = array_cache.write_arrays

    def stop(path, arrays):
        if path.name == "shard-00001.npz":
            raise KeyboardInterrupt
        write(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(array_cache, "write_arrays", stop)
        with pytest.raises(KeyboardInterrupt):
            cached_features(source(tokenizer), store, ["flat"])


def test_a_killed_run_goes_on_where_it_was(store, monkeypatch):
    killed_after_one_shard(store, Cells(), monkeypatch)
    tokenizer = Cells()
    found = cached_features(source(tokenizer), store, ["flat"])
    assert tokenizer.seen <= COUNT - 64 + 1
    np.testing.assert_allclose(found["flat"].rows, expected(store), atol=1e-5)


def test_an_entry_that_another_process_finished_meanwhile_is_the_result(store, monkeypatch):
    # As on a file system without locks: the shards go away between writing and joining them.
    write, twice = array_cache._write_shards, []

    def write_while_another_finishes(entries, wanted):
        write(entries, wanted)
        if not twice:
            twice.append(True)
            cached_features(source(Cells()), store, ["flat"])

    monkeypatch.setattr(array_cache, "_write_shards", write_while_another_finishes)
    monkeypatch.setattr(array_cache.ranks, "alone", lambda *_: contextlib.nullcontext())
    found = cached_features(source(Cells()), store, ["flat"])
    np.testing.assert_allclose(found["flat"].rows, expected(store), atol=1e-5)


def test_a_shard_that_vanishes_asks_for_another_run(store, monkeypatch):
    write = array_cache._write_shards

    def write_and_lose(entries, wanted):
        write(entries, wanted)
        entries[0].shard(64).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(array_cache, "_write_shards", write_and_lose)
        with pytest.raises(RunAgain, match=r"shard-00001\.npz vanished"):
            cached_features(source(Cells()), store, ["flat"])
    found = cached_features(source(Cells()), store, ["flat"])
    np.testing.assert_allclose(found["flat"].rows, expected(store), atol=1e-5)


def test_shards_that_other_code_left_are_not_gone_on_with(store, monkeypatch):
    killed_after_one_shard(store, Cells(), monkeypatch)
    found = cached_features(source(Cells(1.5)), store, ["flat"])
    np.testing.assert_allclose(found["flat"].rows, expected(store, 1.5), atol=1e-5)


def test_features_that_are_not_finite_are_refused_with_tokenizer_and_image(store, cache):
    tokenizer = Cells()
    encode = tokenizer.encode

    def broken(images):
        latents = encode(images).latents.clone()
        latents[1] = torch.nan
        return Encoding(latents=latents)

    tokenizer.encode = broken
    with pytest.raises(CellFailed, match=r"cells@test: 'flat' features of 8 .* 'ct/01.png'"):
        cached_features(source(tokenizer), store, ["flat"])
    assert not list(cache.rglob("*.npy"))


def test_too_little_space_is_said_before_the_work(store, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    tokenizer = Cells()
    with pytest.raises(UsageError, match=r"need 0\.00 GB below .* are free.*MEDBENCH_CACHE"):
        cached_features(source(tokenizer), store, ["flat"])
    assert tokenizer.seen <= 64
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("at", ["shard", "whole"])
def test_a_disk_that_fills_up_leaves_nothing_half_written(store, cache, monkeypatch, at):
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == (2 if at == "shard" else 3):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"No space left on device.*below MEDBENCH_CACHE"):
            cached_features(source(Cells()), store, ["flat"])
    left = sorted(path.name for path in cache.rglob("*") if path.is_file())
    whole = ["shard-00000.npz"] if at == "shard" else ["shard-00000.npz", "shard-00001.npz"]
    assert left == whole, "finished shards only, and nothing under a temporary name"
    tokenizer = Cells()
    found = cached_features(source(tokenizer), store, ["flat"])
    assert tokenizer.seen < COUNT
    np.testing.assert_allclose(found["flat"].rows, expected(store), atol=1e-5)


def test_the_cache_command_knows_the_entries(store):
    from medbench.harness.cache import contents

    cached_features(source(Cells()), store, ["flat"])
    (entry,) = contents(cache_root()).of("probe-features")
    assert entry.size_bytes >= COUNT * 48 * 4
