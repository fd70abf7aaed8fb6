"""A small data set of two modalities and a way to run the task on it in-process."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medbench.harness.request import Request
from medbench.harness.runner import execute


@pytest.fixture(scope="session")
def seventy_images(tmp_path_factory):
    """Seventy smooth random images of two modalities: more than one shard."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("seventy")
    for group, count in (("ct", 40), ("fundus", 30)):
        (root / group).mkdir()
        for index in range(count):
            noise = rng.normal(size=(256, 256, 3))
            smooth = gaussian_filter(noise, (1 + index % 9, 1 + index % 9, 0))
            levels = (smooth - smooth.min()) / np.ptp(smooth)
            Image.fromarray((levels * 255).astype(np.uint8)).save(root / group / f"{index:02d}.png")
    return root


@pytest.fixture
def measure(seventy_images, tmp_path):
    """measure("down16", batch_size=3) -> the record."""

    def run(tokenizer, *, output="results", dataset=None, **options):
        request = Request(
            tokenizers=[tokenizer],
            dataset=dataset or f"folder:{seventy_images}",
            output=tmp_path / output,
            **options,
        )
        (cell,) = execute(request).cells
        if cell.error is not None:
            raise cell.error
        return cell.record

    return run
