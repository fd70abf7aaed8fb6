"""Small labelled data sets for the jobs: two modalities with parts, and a folder of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

_PARTS = {"train": 60, "val": 16, "test": 40}
_FILES = 100


def make_data(root: Path) -> None:
    """Write `mri.npz`, `xray.npz` (two labels each) and `files/<modality>/*.png`."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for name, blur in (("mri", 2.0), ("xray", 4.0)):
        arrays = {}
        for part, count in _PARTS.items():
            labels = np.arange(count) % 2
            arrays[f"{part}_images"] = np.stack([_image(rng, blur + 2 * y) for y in labels])
            arrays[f"{part}_labels"] = labels[:, None]
        np.savez_compressed(root / f"{name}.npz", **arrays)
    for number in range(_FILES):
        folder = root / "files" / ("ct" if number % 2 else "fundus")
        folder.mkdir(parents=True, exist_ok=True)
        colours = np.stack([_image(rng, 3.0, side=280) for _ in range(3)], axis=-1)
        Image.fromarray(colours).save(folder / f"{number:03d}.png")


def _image(rng: np.random.Generator, blur: float, *, side: int = 64) -> np.ndarray:
    noise = gaussian_filter(rng.normal(size=(side, side)), blur)
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
