"""Sources with planted rejects, and runs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medbench.harness.curation.job import Job, run
from medbench.harness.curation.parts import Hands
from medbench.harness.curation.thresholds import packaged_thresholds
from medbench.harness.curation.unit import Settings


@pytest.fixture
def texture(rng) -> Callable[..., np.ndarray]:
    """Makes uint8 (H, W, 3) that passes every filter."""

    def make(height: int = 160, width: int = 160) -> np.ndarray:
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def planted_images(rng, texture) -> dict[str, np.ndarray]:
    """One image per image filter, which breaks this filter and no other."""
    luminance = rng.integers(100, 128, (160, 160, 1))
    flat = np.repeat(luminance, 3, axis=2)
    flat[..., 2] += rng.integers(-10, 11, (160, 160))
    quiet = np.full((160, 160, 3), 120) + rng.integers(-2, 3, (160, 160, 3))
    quiet.reshape(-1, 3)[:200] = 90
    quiet.reshape(-1, 3)[200:400] = 150
    poster = rng.integers(0, 256, (8, 3))[rng.integers(0, 8, (160, 160))]
    return {
        "minimum-side": texture(100, 160),
        "dynamic-range": flat.astype(np.uint8),
        "standard-deviation": quiet.astype(np.uint8),
        "palette": poster.astype(np.uint8),
    }


@pytest.fixture
def settings() -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        defaults: dict[str, Any] = {"rules": "meditok", "format": "folder"}
        return Settings(thresholds=packaged_thresholds(), **(defaults | changes))

    return make


@pytest.fixture
def curate(tmp_path, settings) -> Callable[..., dict[str, Any]]:
    def go(*sources: str, out: Path | None = None, **changes: Any) -> dict[str, Any]:
        masks = changes.pop("masks", ())
        hands = Hands(changes.pop("workers", 1), changes.pop("cluster", None))
        if masks:
            changes["masked"] = True
        job = Job(
            tuple(map(str, sources)), out or tmp_path / "out", settings(**changes), masks, hands
        )
        return run(job)

    return go


@pytest.fixture
def save_nifti() -> Callable[[Path, np.ndarray], Path]:
    nibabel = pytest.importorskip("nibabel")

    def save(path: Path, values: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        return path

    return save


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Everything a finished run left, by relative path."""

    def read(root: Path) -> dict[str, bytes]:
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    return read
