"""The images of the claims: medsynth by generator, real sets from the data root, all small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.harness.datasets import medsynth
from medbench.harness.locations import cache_root, data_root

SIDE = 64
TRAIN_PER_MODALITY, TEST_PER_MODALITY = 400, 300
UNNAMED = {
    "ct": "lung_b",
    "dermoscopy": "vignette",
    "endoscopy": "fold_frequency",
    "fundus": "pigment",
    "microscopy": "red_radius",
    "mri": "gain",
    "pathology": "density",
    "ultrasound": "gland_depth",
    "xray": "heart",
}
"""A part of each image's state that no caption names: is it in the upper or the lower half?"""


@dataclass(frozen=True)
class Images:
    """Images uint8 (N, SIDE, SIDE, 3) and what is known of each."""

    pixels: NDArray[np.uint8]
    labels: list[str]
    groups: list[str]
    patients: list[str]
    values: NDArray[np.float64]
    """Of the unnamed part of the state; NaN where there is none."""


@dataclass(frozen=True)
class Pair:
    """Images to fit a probe on, and other images to score it on."""

    train: Images
    test: Images


def medsynth_images(split: str, per_modality: int) -> Images:
    """Images of medsynth at SIDE, painted once."""
    path = cache_root() / "claims" / f"{split}-{per_modality}-{medsynth.GENERATOR_VERSION}.npz"
    if not path.exists():
        samples = [
            medsynth.generate(modality, index, seed=0, split=split, size=SIDE)
            for modality in medsynth.MODALITIES
            for index in range(per_modality)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            pixels=np.stack([s.image for s in samples]),
            labels=[s.label for s in samples],
            groups=[s.modality for s in samples],
            patients=[s.patient for s in samples],
            values=[float(s.state[UNNAMED[s.modality]]) for s in samples],
        )
    kept = np.load(path)
    texts = {name: kept[name].tolist() for name in ("labels", "groups", "patients")}
    return Images(kept["pixels"], **texts, values=kept["values"])


def with_unnamed(pair: Pair) -> Pair:
    """The same images, labelled by the half (of the training set) in which the value lies."""

    def halved(images: Images, middles: dict[str, float]) -> Images:
        rows = zip(images.values, images.groups, strict=True)
        labels = ["upper" if value > middles[group] else "lower" for value, group in rows]
        return Images(images.pixels, labels, images.groups, images.patients, images.values)

    groups = np.array(pair.train.groups)
    middles = {g: float(np.median(pair.train.values[groups == g])) for g in np.unique(groups)}
    return Pair(halved(pair.train, middles), halved(pair.test, middles))


def real_sets() -> dict[str, Pair]:
    """The labelled sets of the data root, each as one group."""
    root = data_root()
    if root is None:
        return {}
    files = [
        *sorted(root.glob("medmnist/*.npz")),
        *sorted(root.glob("derived_classification/*.npz")),
    ]
    return {path.stem: Pair(_read(path, "train"), _read(path, "test")) for path in files}


def _read(path: Path, split: str) -> Images:
    kept = np.load(path, allow_pickle=False)
    small, labels = kept[f"{split}_images"], kept[f"{split}_labels"].reshape(-1)
    resized = [
        np.asarray(
            Image.fromarray(each).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        )
        for each in small
    ]
    count = len(small)
    return Images(
        np.stack(resized),
        [str(label) for label in labels],
        [path.stem] * count,
        [""] * count,
        np.full(count, np.nan),
    )
