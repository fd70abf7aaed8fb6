from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.datasets.stored_rows import StoredImage
from medbench.tasks.probe.splits import split_images


class Rows:
    """What of an image store the split reads."""

    def __init__(self, rows):
        self.rows = rows


def images(count, *, label=lambda i: str(i % 2), patient=lambda i: None, group=lambda i: "ct"):
    return [
        StoredImage(f"image-{i}", group(i), f"{i:064d}", label(i), patient(i), 256, 256, notes=())
        for i in range(count)
    ]


def members(split):
    return {name: set(part.hashes.tolist()) for name, part in split.parts.items()}


def test_every_image_is_in_one_part_in_the_stated_shares():
    split = split_images({"test": Rows(images(200))})
    found = members(split)
    assert {name: len(each) for name, each in found.items()} == {
        "train": 120,
        "val": 40,
        "test": 40,
    }
    assert len(set.union(*found.values())) == 200
    for part in split.parts.values():
        assert (part.labels == "0").sum() == len(part.rows) / 2
    assert split.warnings == []


def test_no_patient_is_in_two_parts_and_every_class_is_in_all():
    rows = images(300, label=lambda i: str(i // 3 % 3), patient=lambda i: f"p{i // 5}")
    split = split_images({"test": Rows(rows)})
    patients = [set(part.patients) for part in split.parts.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 60
    for part in split.parts.values():
        assert set(part.labels) == {"0", "1", "2"}


def test_does_not_depend_on_the_order_of_the_images():
    rows = images(90)
    forwards, backwards = (
        members(split_images({"test": Rows(each)})) for each in (rows, rows[::-1])
    )
    assert forwards == backwards


def test_images_with_the_same_pixels_stay_together():
    twins = [
        StoredImage(f"i{i}", "ct", f"{i // 2:064d}", str(i // 2 % 2), None, 9, 9, notes=())
        for i in range(80)
    ]
    split = split_images({"test": Rows(twins)})
    assert not any("pixel by pixel" in warning for warning in split.warnings)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_three_images_of_a_class_are_enough_for_three_parts(count):
    split = split_images({"test": Rows(images(2 * count))})
    assert all(set(part.labels) == {"0", "1"} for part in split.parts.values())


def test_a_missing_validation_part_comes_out_of_the_training_part():
    split = split_images({"test": Rows(images(10)), "train": Rows(images(80))})
    assert {name: len(part.rows) for name, part in split.parts.items()} == {
        "train": 60,
        "val": 20,
        "test": 10,
    }
    assert split.parts["val"].store == "train"
    assert not np.isin(split.parts["val"].rows, split.parts["train"].rows).any()


def test_images_without_a_label_are_left_out_and_counted():
    rows = images(40, label=lambda i: None if i < 4 else str(i % 2))
    split = split_images({"test": Rows(rows)})
    assert sum(len(part.rows) for part in split.parts.values()) == 36
    assert split.warnings == ["4 of 40 images of the test part have no label: left out"]
