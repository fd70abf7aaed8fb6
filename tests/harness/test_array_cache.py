from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from medbench.harness import array_cache
from medbench.harness.array_cache import Wanted, kept_arrays, nearly_equal
from medbench.harness.errors import CellFailed, RunAgain
from medbench.harness.shards import write_arrays

COUNT = 70  # more than one shard
ROWS = np.arange(COUNT * 8, dtype=np.float32).reshape(COUNT, 8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rows"


def rows_of(place, compute=None):
    """The kept rows, and which ranges had to be computed for them."""
    ranges = []

    def count(start, stop, names):
        ranges.append((start, stop))
        return {"rows": ROWS[start:stop]}

    wanted = Wanted(place, "rows", {"rows": {}}, COUNT, compute or count, nearly_equal)
    return np.array(kept_arrays(wanted)["rows"].rows), ranges


def stamps(place):
    """When each file was last written, and which it is: reading changes neither."""
    found = ((path, path.stat()) for path in place.rglob("*"))
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in found}


def stale(*_, **__):
    raise OSError(errno.ESTALE, "Stale file handle")


@pytest.mark.parametrize("step", ["facts", "array"])
def test_a_passing_error_deletes_no_finished_rows(place, monkeypatch, step):
    rows_of(place)
    before = stamps(place)
    with monkeypatch.context() as patch:
        patch.setattr(*((json, "loads") if step == "facts" else (np, "load")), stale)
        with pytest.raises(RunAgain, match="Stale file handle"):
            rows_of(place)
    assert stamps(place) == before
    rows, ranges = rows_of(place)
    np.testing.assert_array_equal(rows, ROWS)
    assert ranges == [(0, 1), (COUNT - 1, COUNT)], "only the spot checks"


def test_a_spot_check_that_fails_deletes_no_finished_rows(place):
    rows_of(place)
    before = stamps(place)

    def fail(*_):
        raise CellFailed("not even one image fits into memory")

    with pytest.raises(CellFailed, match="not even one image fits"):
        rows_of(place, fail)
    assert stamps(place) == before


@pytest.fixture
def unfinished(place, monkeypatch):
    """The first of two shards, of a run that was stopped."""

    def stop(path, arrays):
        if path.name == "shard-00001.npz":
            raise KeyboardInterrupt
        write_arrays(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(array_cache, "write_arrays", stop)
        with pytest.raises(KeyboardInterrupt):
            rows_of(place)
    (shard,) = place.rglob("*.npz")
    return shard


def test_a_shard_that_cannot_be_read_now_is_kept(place, unfinished, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", stale)
        with pytest.raises(RunAgain, match=r"shard-00000\.npz: .*Stale file handle"):
            rows_of(place)
    rows, ranges = rows_of(place)
    np.testing.assert_array_equal(rows, ROWS)
    assert ranges == [(0, 1), (64, COUNT)]


def test_a_damaged_entry_is_removed_only_under_the_lock(place, monkeypatch, caplog):
    rows_of(place)
    (folder,) = place.iterdir()
    (folder / "facts.json").write_text("{")
    alone, seen = array_cache.ranks.alone, []

    def watched(*args):
        seen.append((folder / "array.npy").exists())
        return alone(*args)

    monkeypatch.setattr(array_cache.ranks, "alone", watched)
    rows, ranges = rows_of(place)
    np.testing.assert_array_equal(rows, ROWS)
    assert seen == [True]
    assert ranges == [(0, 64), (64, COUNT)]
    assert caplog.text.count("is not used") == 1
