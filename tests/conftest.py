"""Shared fixtures: a private cache per test session, small images, real data where present."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """No test reads or writes the user's own cache, weights or data settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MEDBENCH_WEIGHTS", raising=False)
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images that MEDBENCH_DATA names."""
    root = os.environ.get("MEDBENCH_DATA")
    if not root or not (Path(root) / "recon").is_dir():
        pytest.skip("needs MEDBENCH_DATA with recon/<modality>/*.png (real images, not shipped)")
    return Path(root)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def image_folder(tmp_path, rng) -> Path:
    """Six readable images: four CT, two fundus, of several sizes."""
    root = tmp_path / "images"
    for group, count in (("ct", 4), ("fundus", 2)):
        (root / group).mkdir(parents=True)
        for index in range(count):
            coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            side = 200 + 40 * index
            Image.fromarray(coarse).resize((side, side)).save(root / group / f"{index}.png")
    return root
