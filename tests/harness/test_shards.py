from __future__ import annotations

import numpy as np
import pytest

from medbench.harness import ranks
from medbench.harness.errors import CellFailed
from medbench.harness.shards import BatchSize, read_arrays, run_shards, write_arrays


def double(start, stop):
    return {"x": np.arange(start, stop) * 2}


def test_shards_cover_every_image_once_and_are_read_back(tmp_path):
    first = np.concatenate([s["x"] for s in run_shards(tmp_path, 150, double, label="")])
    np.testing.assert_array_equal(first, np.arange(150) * 2)
    assert len(list(tmp_path.glob("shard-*.npz"))) == 3
    forbidden = lambda *_: pytest.fail("computed again")  # noqa: E731
    again = np.concatenate([s["x"] for s in run_shards(tmp_path, 150, forbidden, label="")])
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_shard_is_computed_again(tmp_path, damage):
    list(run_shards(tmp_path, 100, double, label=""))
    path = tmp_path / "shard-00001.npz"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(
        data if damage == "flip" else data[: len(data) // 2 if damage == "truncate" else 0]
    )
    asked = []

    def compute(start, stop):
        asked.append((start, stop))
        return double(start, stop)

    result = np.concatenate([s["x"] for s in run_shards(tmp_path, 100, compute, label="")])
    np.testing.assert_array_equal(result, np.arange(100) * 2)
    assert asked == [(64, 100)]


def test_arrays_keep_their_types_and_bits(tmp_path, rng):
    arrays = {"a": rng.normal(size=(3, 4)), "b": np.array([1, 2], np.int32)}
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert back is not None
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_batch_size_halves_until_it_fits_and_is_kept_for_a_resumed_run(tmp_path):
    batch = BatchSize(None, device="cuda", note=tmp_path / "batch.json")

    def work(size):
        if size > 10:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return size

    assert batch.attempt(work) == 8
    assert BatchSize(None, device="cuda", note=tmp_path / "batch.json").size == 8
    assert BatchSize(5, device="cuda", note=tmp_path / "batch.json").size == 5


def fits(most):
    def work(size):
        if size > most:
            raise MemoryError
        return size

    return work


def test_later_runs_begin_with_a_halved_size_that_fitted(tmp_path):
    fitted = tmp_path / "fitted.json"
    assert BatchSize(None, device="cuda", fitted=fitted).attempt(fits(10)) == 8
    assert BatchSize(None, device="cuda", fitted=fitted).size == 8
    assert BatchSize(None, device="cpu", fitted=fitted).size == 8
    assert BatchSize(20, device="cuda", fitted=fitted).size == 20


def test_what_fitted_at_once_is_not_remembered_and_never_enlarges(tmp_path):
    fitted = tmp_path / "fitted.json"
    BatchSize(None, device="cuda", fitted=fitted).attempt(fits(64))
    assert not fitted.exists()
    BatchSize(64, device="cpu", fitted=fitted).attempt(fits(40))
    assert BatchSize(None, device="cpu", fitted=fitted).size == 8


def test_a_resumed_run_keeps_its_own_size_whatever_others_remember(tmp_path):
    note, fitted = tmp_path / "note.json", tmp_path / "fitted.json"
    BatchSize(None, device="cuda", note=note, fitted=fitted).attempt(fits(64))
    BatchSize(None, device="cuda", fitted=fitted).attempt(fits(10))
    assert BatchSize(None, device="cuda", note=note, fitted=fitted).size == 64


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"batch_size": "x"}', '{"batch_size": 4, "check": "0"}']
)
def test_a_damaged_memory_of_sizes_is_ignored(tmp_path, text):
    fitted = tmp_path / "fitted.json"
    fitted.write_text(text)
    assert BatchSize(None, device="cuda", fitted=fitted).size == 64


def test_only_the_first_rank_writes_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "own", lambda: 1)
    note, fitted = tmp_path / "note.json", tmp_path / "fitted.json"
    assert BatchSize(None, device="cuda", note=note, fitted=fitted).attempt(fits(10)) == 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_when_not_even_one_image_fits_the_cell_fails(error):
    def work(_size):
        raise error

    with pytest.raises(CellFailed, match="not even one image"):
        BatchSize(4, device="cpu").attempt(work)


@pytest.mark.parametrize("text", ["size mismatch", "could not create a primitive descriptor"])
def test_other_errors_are_not_taken_for_memory(text):
    def work(_size):
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match=text):
        BatchSize(4, device="cpu").attempt(work)


def test_no_flipped_bit_of_a_shard_passes(tmp_path):
    path = tmp_path / "shard.npz"
    write_arrays(path, {"a": np.arange(3.0), "b": np.array(["x"])})
    data = path.read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert read_arrays(path) is None, place
