from __future__ import annotations

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.image_batch import check_images


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(3, 16, 16), r"\(3, 16, 16\)"),
        (torch.zeros(1, 1, 16, 16), r"\(1, 1, 16, 16\)"),
        (torch.zeros(1, 3, 16, 24), r"\(1, 3, 16, 24\)"),
        (torch.zeros(0, 3, 16, 16), r"\(0, 3, 16, 16\)"),
        (torch.zeros(1, 3, 16, 16).double(), "float64"),
        (torch.zeros(1, 3, 20, 20), "resize the images to 16 or 24"),
        (torch.zeros(1, 3, 4, 4), "resize the images to 8"),
        (torch.full((1, 3, 16, 16), 1.5), "maximum 1.5"),
        (torch.full((1, 3, 16, 16), -0.1), "minimum -0.1"),
        (torch.full((1, 3, 16, 16), float("nan")), "nan"),
        (torch.full((1, 3, 16, 16), float("inf")), "inf"),
        ([0.0], "list"),
    ],
)
def test_check_images_names_what_it_saw(images, said):
    with pytest.raises(UsageError, match=said):
        check_images(images, tokenizer="toy@test", size_multiple=8)


def test_check_images_accepts_the_closed_range():
    images = torch.tensor([0.0, 1.0]).repeat(1, 3, 8, 4)
    assert check_images(images, tokenizer="toy@test", size_multiple=8) is None
