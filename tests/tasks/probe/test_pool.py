"""Which images the paper's protocol scores."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medbench.tasks.probe import pool as pools
from medbench.tasks.probe.groups import Group
from medbench.tasks.probe.pool import Pool, drawn, paper_pool, pool_ids, pool_of
from medbench.tasks.probe.splits import Part

from .conftest import Colours


def part_of(name, labels):
    empty = np.array([""] * len(labels), dtype=object)
    ids = np.array([f"{name}/{i:06d}" for i in range(len(labels))], dtype=object)
    rows, labels = np.arange(len(labels)), np.array(labels, dtype=object)
    return Part(name, rows, ids, empty.astype(str), labels, empty, empty.astype(str))


def group_of(val, test):
    classes = tuple(sorted({*val, *test}))
    parts = {"val": part_of("val", val), "test": part_of("test", test)}
    truth = {name: np.searchsorted(classes, p.labels.astype(str)) for name, p in parts.items()}
    return Group("g", classes, parts, truth)


def long_tail(count):
    return ["abcdefghi"[min(i % 11, i % 7, 8)] for i in range(count)]


@pytest.mark.parametrize("dataset", ["pathmnist@224", "chestmnist@28", "octmnist@28", "folder:x"])
def test_is_exactly_500_images_of_test(dataset):
    found = paper_pool(group_of(long_tail(300), long_tail(7180)), dataset)
    assert list(found) == ["test"]
    assert len(found["test"]) == len(set(found["test"].tolist())) == 500
    assert (np.diff(found["test"]) > 0).all()


def test_of_the_fundus_set_is_500_of_both_parts():
    val, test = long_tail(120), long_tail(400)
    found = paper_pool(group_of(val, test), "retinamnist@224")
    assert {name: len(rows) > 0 for name, rows in found.items()} == {"val": True, "test": True}
    assert sum(map(len, found.values())) == 500


@pytest.mark.parametrize("dataset", ["pneumoniamnist@28", "breastmnist@224"])
def test_of_the_two_binary_sets_is_both_parts_whole(dataset):
    found = paper_pool(group_of(long_tail(524), long_tail(624)), dataset)
    assert {name: len(rows) for name, rows in found.items()} == {"val": 524, "test": 624}
    assert pool_of(dataset).facts() == {"parts": ["val", "test"], "images": "all"}


def test_of_a_smaller_set_is_all_of_test():
    found = paper_pool(group_of(long_tail(90), long_tail(400)), "dermamnist@28")
    assert found["test"].tolist() == list(range(400))


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        ({"a": 600, "b": 400}, {"a": 60, "b": 40}),
        # Quotas 47.45, 31.6, 20.9 and 0.05: the last is raised, and one is left for the third.
        ({"a": 949, "b": 632, "c": 418, "d": 1}, {"a": 47, "b": 31, "c": 21, "d": 1}),
        ({"a": 1000, "b": 1, "c": 1}, {"a": 98, "b": 1, "c": 1}),
    ],
)
def test_classes_keep_their_proportions_by_largest_remainder(counts, shares):
    labels = [name for name, count in counts.items() for _ in range(count)]
    rows = drawn([str(i) for i in range(len(labels))], labels, 100)
    assert Counter(labels[row] for row in rows) == shares


def test_follows_from_the_ids_alone():
    ids, labels = [f"test/{i}" for i in range(900)], long_tail(900)
    forwards = {ids[row] for row in drawn(ids, labels, 500)}
    assert forwards == {ids[::-1][row] for row in drawn(ids[::-1], labels[::-1], 500)}
    other = [f"other/{i}" for i in range(900)]
    assert forwards != {ids[row] for row in drawn(other, labels, 500)}


def test_the_ids_are_listed_and_marked_in_the_per_image_rows(
    probe, named, make_npz, monkeypatch, tmp_path
):
    import pandas as pd

    monkeypatch.setattr(pools, "OTHERS", Pool(size=30))
    dataset = make_npz()
    record = probe(named(Colours()), dataset=dataset)
    (path,) = tmp_path.rglob("*.parquet")
    rows = pd.read_parquet(path)
    assert record.metric("map", "all", "lp-paper").n == rows.lp_paper.sum() == 30
    assert pool_ids(dataset) == {"mri": rows.id[rows.lp_paper].tolist()}
    definition = record.definitions["map-lp-paper-2"]
    assert definition.facts["scored"]["rule"] == "paper-pool-1"
    monkeypatch.setitem(pools.POOLS, "npz", Pool(("val", "test"), 40))
    listed = pool_ids(dataset)["mri"]
    assert len(listed) == 40
    assert {each.partition("/")[0] for each in listed} == {"val", "test"}
