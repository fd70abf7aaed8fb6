from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import MODALITIES, describe, generate
from medbench.harness.errors import UsageError
from medbench.harness.training.pool import PoolSpec, Told, open_pool, paint


def test_a_pool_is_painted_once_and_read_ever_after(tmp_path) -> None:
    spec = PoolSpec("textures", 3, seed=4, size=32)
    pool = open_pool(spec, tmp_path)
    assert (pool.images.shape, pool.images.dtype) == ((3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(pool.images[2], paint(spec, 2).pixels)
    path = pool.folder / "images.npy"
    stamp = path.stat().st_mtime_ns
    np.testing.assert_array_equal(open_pool(spec, tmp_path).images, pool.images)
    assert path.stat().st_mtime_ns == stamp


def test_processes_paint_the_same_pool(tmp_path) -> None:
    spec = PoolSpec("textures", 4, size=32)
    alone = open_pool(spec, tmp_path / "alone")
    together = open_pool(spec, tmp_path / "together", workers=2)
    np.testing.assert_array_equal(alone.images, together.images)
    assert alone.rows == together.rows


def test_medsynth_pools_hold_training_images_of_the_modalities_in_turn() -> None:
    spec = PoolSpec("medsynth", 16, seed=3, size=64)
    painted = paint(spec, len(MODALITIES) + 1)
    expected = generate(MODALITIES[1], 1, seed=3, split="train", size=64).image
    np.testing.assert_array_equal(painted.pixels, expected)


def test_a_pool_tells_of_each_image_what_its_generator_knows(tmp_path) -> None:
    pool = open_pool(PoolSpec("medsynth", 11, seed=3, size=32), tmp_path)
    for index, told in enumerate(pool.rows):
        which, modality = divmod(index, len(MODALITIES))
        known = describe(MODALITIES[modality], which, seed=3, split="train")
        assert told == Told(known.caption, known.label, MODALITIES[modality])
    assert open_pool(PoolSpec("textures", 1, size=16), tmp_path).rows == [Told()]


def test_a_pool_is_sent_to_other_processes_without_its_images(tmp_path) -> None:
    pool = open_pool(PoolSpec("textures", 2, size=64), tmp_path)
    sent = pickle.dumps(pool)
    assert len(sent) < 1000 < pool.images.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).images, pool.images)


def test_other_pools_have_other_files(tmp_path) -> None:
    for seed in (0, 1):
        open_pool(PoolSpec("textures", 1, seed=seed, size=16), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"source": "photos"}, "unknown image source 'photos'"), ({"count": 0}, "not possible")],
)
def test_pools_that_cannot_be_are_refused(changes, message) -> None:
    with pytest.raises(UsageError, match=message):
        PoolSpec(**{"source": "textures", "count": 1, **changes})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images.npy", np.zeros((2, 2), np.uint8)),
        ("images.npy", b"no array"),
        ("rows.json", [["text", "label", "modality"]] * 2),
        ("rows.json", [["text", "label", "modality", "more"]]),
        ("rows.json", b"["),
    ],
)
def test_damaged_files_are_painted_again(tmp_path, name, content) -> None:
    spec = PoolSpec("textures", 1, size=16)
    pool = open_pool(spec, tmp_path)
    images, rows = np.array(pool.images), pool.rows
    path = pool.folder / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    again = open_pool(spec, tmp_path)
    np.testing.assert_array_equal(again.images, images)
    assert again.rows == rows


def test_one_flipped_bit_is_enough_to_paint_again(tmp_path) -> None:
    spec = PoolSpec("textures", 1, size=16)
    pool = open_pool(spec, tmp_path)
    images = np.array(pool.images)
    path = pool.folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    np.testing.assert_array_equal(open_pool(spec, tmp_path).images, images)
