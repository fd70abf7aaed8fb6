"""Reading ahead gives the same images, and nothing else."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from medbench.harness import ranks
from medbench.harness.reading import ReadAhead


class Store:
    """150 images of one pixel, that notes what is read, and by which thread."""

    def __init__(self):
        self.read_by = {}

    def __len__(self):
        return 150

    def read(self, start, stop):
        assert (start, stop) not in self.read_by, "read twice"
        self.read_by[start, stop] = threading.current_thread()
        return np.arange(start, stop, dtype=np.uint8).reshape(-1, 1, 1, 1)


SHARDS = [(0, 64), (64, 128), (128, 150)]


def test_on_cuda_each_next_shard_is_read_by_another_thread():
    store = Store()
    read = ReadAhead(store, "cuda:0")
    for start, stop in SHARDS:
        assert read(start, stop).ravel().tolist() == list(range(start, stop))
    own = threading.current_thread()
    assert [store.read_by[shard] is own for shard in SHARDS] == [True, False, False]


def test_on_the_cpu_nothing_is_read_ahead():
    store = Store()
    ReadAhead(store, "cpu")(0, 64)
    assert list(store.read_by) == [(0, 64)]


def test_of_several_ranks_each_reads_its_own_next_shard(monkeypatch):
    monkeypatch.setattr(ranks, "count", lambda: 2)
    store = Store()
    read = ReadAhead(store, "cuda")
    read(0, 64)
    assert read(128, 150).ravel().tolist() == list(range(128, 150))
    assert list(store.read_by) == SHARDS[::2]


def test_what_was_not_expected_is_read_all_the_same():
    read = ReadAhead(Store(), "cuda")
    read(0, 64)
    assert read(100, 101).ravel().tolist() == [100]


def test_an_error_of_the_thread_reaches_whoever_asks():
    store = Store()
    store.read_by[64, 128] = None
    read = ReadAhead(store, "cuda")
    read(0, 64)
    with pytest.raises(AssertionError, match="read twice"):
        read(64, 128)
