from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets import medsynth


def _jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _resized(rgb: np.ndarray, scale: float) -> np.ndarray:
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def _scaled(rgb: np.ndarray, factor: float) -> np.ndarray:
    return np.rint(rgb * factor).clip(0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "jpeg60": lambda rgb: _jpeg(rgb, 60),
    "jpeg90": lambda rgb: _jpeg(rgb, 90),
    "half": lambda rgb: _resized(rgb, 0.5),
    "double": lambda rgb: _resized(rgb, 2.0),
    "brighter": lambda rgb: _scaled(rgb, 1.1),
    "darker": lambda rgb: _scaled(rgb, 0.9),
}


@cache
def _picture(modality: str, index: int) -> np.ndarray:
    return medsynth.generate(modality, index, split="val", size=256).image


@pytest.fixture(scope="session")
def picture() -> Callable[[str, int], np.ndarray]:
    """A generated picture by modality and index."""
    return _picture


@pytest.fixture(scope="session")
def copies() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What an audit promises to find, by name."""
    return COPIES


@pytest.fixture
def save() -> Callable[[Path, np.ndarray], None]:
    """Write a PNG, with its folders."""

    def write(path: Path, rgb: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path)

    return write
