from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import MODALITIES, generate
from medbench.harness.errors import UsageError
from medbench.harness.training.pool import PoolSpec, open_pool, paint


def test_a_pool_is_painted_once_and_read_ever_after(tmp_path) -> None:
    spec = PoolSpec("textures", 3, seed=4, size=32)
    pool = open_pool(spec, tmp_path)
    assert (pool.shape, pool.dtype) == ((3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(pool[2], paint(spec, 2))
    (path,) = tmp_path.iterdir()
    stamp = path.stat().st_mtime_ns
    np.testing.assert_array_equal(open_pool(spec, tmp_path), pool)
    assert path.stat().st_mtime_ns == stamp


def test_processes_paint_the_same_pool(tmp_path) -> None:
    spec = PoolSpec("textures", 4, size=32)
    alone = open_pool(spec, tmp_path / "alone")
    together = open_pool(spec, tmp_path / "together", workers=2)
    np.testing.assert_array_equal(alone, together)


def test_medsynth_pools_hold_training_images_of_the_modalities_in_turn() -> None:
    spec = PoolSpec("medsynth", 16, seed=3, size=64)
    index = len(MODALITIES) + 1
    expected = generate(MODALITIES[1], 1, seed=3, split="train", size=64).image
    np.testing.assert_array_equal(paint(spec, index), expected)


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


def test_a_file_of_another_shape_is_refused(tmp_path) -> None:
    spec = PoolSpec("textures", 1, size=16)
    open_pool(spec, tmp_path)
    (path,) = tmp_path.iterdir()
    np.save(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(UsageError, match="Delete it"):
        open_pool(spec, tmp_path)
