"""Shared fixtures: a private cache per test session, small images, real data where
present, and golden cases: upstream's outputs on deterministic weights.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from medbench.testing import weights_of_case

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "meditok": "meditok",
    "unitok": "unitok",
    "tokenflow": "tokenflow",
    "emu3-vq": "emu3vq",
    "vqgan": "vqgan",
    "medvae": "medvae_1c",
    "pumit": "pumit",
}
"""Each tokenizer and its small reference case."""

BEGUN = pytest.StashKey[float]()
"""When the run began, on the monotonic clock."""


def pytest_addoption(parser):
    parser.addoption(
        "--begin-within",
        type=float,
        metavar="MINUTES",
        help="skip the tests that have not begun so many minutes after the run has",
    )


def pytest_configure(config):
    config.stash[BEGUN] = time.monotonic()


def pytest_runtest_setup(item):
    limit = item.config.getoption("--begin-within")
    if limit is not None and time.monotonic() - item.config.stash[BEGUN] > 60 * limit:
        pytest.skip(f"the {limit:g} minutes of --begin-within are over")


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


@dataclass(frozen=True, slots=True)
class Golden:
    """Upstream's outputs for weights that follow from their keys."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    outputs: dict[str, Tensor]


def _read(name: str) -> Golden:
    spec = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    config = spec["config"] | ({"variant": spec["variant"]} if "variant" in spec else {})
    return Golden(config, weights_of_case(spec), load_file(GOLDEN / f"{name}.io.safetensors"))


@pytest.fixture(params=CASES)
def published(request) -> str:
    """The name of each tokenizer that has a published network, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """The golden case of that name, or the small reference case of a tokenizer."""
    cache: dict[str, Golden] = {}

    def read(name: str) -> Golden:
        if name not in cache:
            cache[name] = _read(CASES.get(name, name))
        return cache[name]

    return read


@pytest.fixture(scope="session")
def layout() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """Shapes of a published checkpoint by key, in its order."""

    def read(name: str) -> dict[str, tuple[int, ...]]:
        lines = (GOLDEN / "layouts" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        return {
            key: () if shape == "scalar" else tuple(map(int, shape.split("x")))
            for key, shape, *_ in rows
        }

    return read
