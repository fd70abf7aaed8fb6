"""Parts of the user's own sets: folders and tables that name them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.parts import has_part, part_of, written_part
from medbench.harness.errors import UsageError
from medbench.harness.registry import load_dataset


@pytest.fixture
def images(tmp_path, rng):
    def make(names):
        for name in names:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
        return tmp_path / "set"

    return make


def test_directories_below_the_modality_are_split_and_label(images):
    root = images(["ct/train/a/1.png", "ct/val/a/2.png", "ct/test/b/deep/3.png", "mri/c/4.png"])
    whole = load_dataset(f"folder:{root}")
    assert [item.label for item in whole.items()] == ["b", "a", "a", "c"]
    test = part_of(whole, "test")
    assert [(item.id, item.label) for item in test.items()] == [("ct/test/b/deep/3.png", "b")]
    assert (test.id, test.split) == ("folder@test:set", "test")
    assert test.card.modalities == ["ct"]


def test_images_directly_in_the_modality_have_no_label_and_no_part(images):
    dataset = load_dataset(f"folder:{images(['ct/1.png', 'ct/2.png'])}")
    assert [item.label for item in dataset.items()] == [None, None]
    assert not has_part(dataset, "train")
    with pytest.raises(UsageError, match="no part 'train'; found: none"):
        part_of(dataset, "train")


def test_a_split_that_no_directory_names_is_refused(images):
    root = images(["ct/train/a/1.png"])
    with pytest.raises(UsageError, match="no part 'test'; found: train"):
        load_dataset(f"folder@test:{root}")


@pytest.mark.parametrize("kind", ["manifest", "jsonl"])
def test_rows_of_a_split_are_the_part(images, kind):
    root = images(["1.png", "2.png", "3.png"])
    rows = [("1.png", "training"), ("2.png", "validation"), ("3.png", "test")]
    if kind == "manifest":
        lines = ["path,modality,split", *(f"{path},ct,{split}" for path, split in rows)]
        table = root / "set.csv"
    else:
        lines = [json.dumps({"path": p, "modality": "ct", "split": s}) for p, s in rows]
        table = root / "set.jsonl"
    table.write_text("\n".join(lines))
    for reference in (f"{kind}:{table}", f"{kind}@test:{table}"):
        dataset = load_dataset(reference)
        assert [item.id for item in part_of(dataset, "train").items()] == ["1.png"]
        assert [item.id for item in part_of(dataset, "val").items()] == ["2.png"]
        assert part_of(dataset, "val").split == "validation"
    with pytest.raises(UsageError, match="no part 'extra'; found: test, training, validation"):
        part_of(dataset, "extra")


def test_words_for_parts_are_read_whatever_their_case():
    assert written_part("train", ["Training", "Test"], where="x") == "Training"
    assert written_part("val", ["val", "dev"], where="x") == "val"
    assert written_part("fold3", ["fold3"], where="x") == "fold3"
