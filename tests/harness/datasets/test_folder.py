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
    with pytest.raises(UsageError, match="one directory per modality"):
        make(tmp_path)


def test_an_absent_folder_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        make(tmp_path / "nowhere")


def test_a_relative_path_is_found_in_the_data_root(image_folder):
    dataset = build("folder:images", argument="images", data_root=image_folder.parent)
    assert dataset.root == image_folder
