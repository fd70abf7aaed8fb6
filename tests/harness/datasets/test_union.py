"""Several sets as one."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.datasets.store import ingest
from medbench.harness.datasets.union import build
from medbench.harness.errors import UsageError


@pytest.fixture
def root(tmp_path, rng):
    for name in ("a", "b"):
        arrays = {}
        for split, count in {"train": 5, "test": 3}.items():
            arrays[f"{split}_images"] = rng.integers(1, 256, (count, 16, 16), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.zeros((count, 1), np.int64)
        np.savez(tmp_path / f"{name}.npz", **arrays)
    return tmp_path


def _union(root, argument="npz@mri:a.npz,npz@xray:b.npz"):
    return build(f"union:{argument}", argument=argument, data_root=root)


def test_has_the_images_of_every_set_under_ids_of_their_own(root):
    store = ingest(_union(root))
    assert [row.group for row in store.rows] == ["mri"] * 3 + ["xray"] * 3
    assert len({row.id for row in store.rows}) == 6


def test_its_parts_are_the_unions_of_the_sets_parts(root):
    train = _union(root).part("train")
    assert train.split == "train"
    assert len(train.items()) == 10
    assert len(train.items(limit=2)) == 4


def test_pixels_are_published_only_where_every_set_allows_it(root):
    assert _union(root).card.pixels == "local"


@pytest.mark.parametrize("argument", ["npz@mri:a.npz", "npz@mri:a.npz,npz@mri:a.npz", ""])
def test_one_set_is_no_union(root, argument):
    with pytest.raises(UsageError, match="at least two different sets"):
        _union(root, argument)
