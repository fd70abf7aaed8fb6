from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.datasets import medsynth
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError
from medbench.harness.registry import load_dataset


def test_sample_crops_do_not_overlap_and_show_five_modalities():
    dataset = load_dataset("sample")
    store = ingest(dataset)
    assert len(store) == dataset.card.splits["all"]
    assert {row.group for row in store.rows} == set(dataset.card.modalities)
    assert len({row.sha256 for row in store.rows}) == len(store)
    assert len({row.patient for row in store.rows}) == 6


def test_sample_needs_no_macro_average():
    assert load_dataset("sample").card.macro is False


def test_medsynth_gives_every_modality_the_same_number():
    store = ingest(load_dataset("medsynth"), limit=2)
    assert [row.group for row in store.rows] == [m for m in medsynth.MODALITIES for _ in range(2)]
    assert store.images.shape == (18, 256, 256, 3)
    for row in range(18):
        assert store.images[row].std() > 5, store.rows[row].id


def test_medsynth_masks_come_with_the_images():
    store = ingest(load_dataset("medsynth"), limit=2)
    assert store.masks is not None
    assert store.masks.any()
    for row, mask in zip(store.rows, store.masks, strict=True):
        _, modality, index = row.id.split("/")
        np.testing.assert_array_equal(mask, medsynth.generate(modality, int(index)).mask)


def test_medsynth_splits_are_data_sets_of_their_own():
    splits = [ingest(load_dataset(name), limit=1) for name in ("medsynth", "medsynth@train")]
    hashes = [{row.sha256 for row in store.rows} for store in splits]
    assert not hashes[0] & hashes[1]


def test_an_unknown_split_is_refused():
    with pytest.raises(UsageError, match="splits: train, val, test"):
        load_dataset("medsynth@tests")
