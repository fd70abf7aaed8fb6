from __future__ import annotations

import pytest
from PIL import Image

from medbench.harness.datasets.folder import build
from medbench.harness.errors import MissingPrerequisite, UsageError


def make(path):
    return build(f"folder:{path}", argument=str(path))


def test_directories_are_the_modalities_and_paths_the_ids(image_folder):
    items = make(image_folder).items()
    assert [item.id for item in items] == [
        *(f"ct/{i}.png" for i in range(4)),
        "fundus/0.png",
        "fundus/1.png",
    ]
    assert {item.group for item in items} == {"ct", "fundus"}


def test_limit_counts_per_group_and_is_nested(image_folder):
    dataset = make(image_folder)
    two, three = ({item.id for item in dataset.items(n)} for n in (2, 3))
    assert len(two) == 4
    assert two < three


def test_hidden_and_foreign_files_are_left_out(image_folder):
    (image_folder / "ct" / "notes.txt").write_text("x")
    (image_folder / "ct" / ".hidden.png").write_bytes(b"x")
    assert len(make(image_folder).items()) == 6


def test_a_directory_that_is_no_modality_is_refused_with_a_near_name(image_folder):
    (image_folder / "X-Ray").mkdir()
    Image.new("L", (20, 20)).save(image_folder / "X-Ray" / "a.png")
    with pytest.raises(UsageError, match="'X-Ray' is not a modality. Did you mean 'xray'"):
        make(image_folder)


def test_an_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        make(tmp_path)


def test_loose_images_say_where_they_belong(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"lie directly in .*Expected PATH/<modality>/"):
        make(tmp_path)


def test_an_absent_folder_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        make(tmp_path / "nowhere")


def test_a_relative_path_is_found_in_the_data_root(image_folder):
    dataset = build("folder:images", argument="images", data_root=image_folder.parent)
    assert dataset.root == image_folder


def image_at(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (20, 20), 90).save(path)


def of_one_modality(root, splits=("train", "val", "test")):
    """torchvision's ImageFolder layout."""
    for split in splits:
        for label in ("normal", "sick"):
            image_at(root / split / label / "1.png")
    return root


def read(reference):
    name, _, path = reference.partition(":")
    return build(reference, argument=path, variant=name.partition("@")[2])


def test_a_modality_in_the_name_reads_the_folder_as_its_directory(tmp_path):
    root = of_one_modality(tmp_path / "eyes")
    dataset = read(f"folder@fundus:{root}")
    assert (dataset.id, dataset.split) == ("folder@fundus:eyes", "test")
    items = dataset.items()
    assert [item.id for item in items] == [
        "fundus/test/normal/1.png",
        "fundus/test/sick/1.png",
    ]
    assert [(item.group, item.label) for item in items] == [
        ("fundus", "normal"),
        ("fundus", "sick"),
    ]
    assert items[0].load().rgb.shape == (20, 20, 3)
    train = dataset.part("train")
    assert (train.id, train.split) == ("folder@fundus-train:eyes", "train")
    assert train.items()[0].id == "fundus/train/normal/1.png"
    assert train.part("test").id == dataset.id


def test_a_modality_in_the_name_gives_the_items_of_the_layout_with_its_directory(tmp_path):
    inner = of_one_modality(tmp_path / "set" / "fundus", splits=("Training", "testing"))
    short, long = read(f"folder@fundus:{inner}"), read(f"folder@test:{inner.parent}")
    assert [item.id for item in short.items()] == [item.id for item in long.items()]
    assert [item.content_key() for item in short.items()] == [
        item.content_key() for item in long.items()
    ]
    assert short.part("train").split == "Training"


def test_without_splits_all_images_of_the_modality_are_read(tmp_path):
    for label in ("normal", "sick"):
        image_at(tmp_path / "eyes" / label / "1.png")
    image_at(tmp_path / "eyes" / "loose.png")
    dataset = read(f"folder@fundus:{tmp_path / 'eyes'}")
    assert (dataset.id, dataset.split) == ("folder@fundus:eyes", "all")
    assert [item.label for item in dataset.items()] == [None, "normal", "sick"]


def test_a_modality_without_a_test_split_says_which_there_are(tmp_path):
    root = of_one_modality(tmp_path / "eyes", splits=("train", "val"))
    with pytest.raises(UsageError, match="no part 'test'; found: train, val"):
        read(f"folder@fundus:{root}")
    assert len(read(f"folder@fundus-val:{root}").items()) == 2


@pytest.mark.parametrize("reference", ["folder:{}", "folder@test:{}", "folder@eye:{}"])
def test_another_layout_is_refused_with_those_that_are_read(tmp_path, reference):
    root = of_one_modality(tmp_path / "eyes")
    with pytest.raises(UsageError, match=r"are read as folder@MODALITY:PATH") as caught:
        read(reference.format(root))
    assert "PATH/<modality>/<split>/<label>/*.png" in str(caught.value)
