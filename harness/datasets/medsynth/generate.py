"""The registry of modalities and the one function that makes a sample."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

import numpy as np

from ...errors import UsageError
from . import (
    ct,
    dermoscopy,
    endoscopy,
    fundus,
    mri,
    pathology,
    ultrasound,
    xray,
)
from .canvas import Field, make_canvas, shrink, shrink_mask
from .latent import SPLITS, open_streams
from .sample import Generator, Sample, StateValue

GENERATOR_VERSION: int = 3
"""Raised by hand whenever any pixel of any modality may change."""

GENERATORS: dict[str, Generator] = {
    "ct": ct.GENERATOR,
    "dermoscopy": dermoscopy.GENERATOR,
    "endoscopy": endoscopy.GENERATOR,
    "fundus": fundus.GENERATOR,
    "mri": mri.GENERATOR,
    "pathology": pathology.GENERATOR,
    "ultrasound": ultrasound.GENERATOR,
    "xray": xray.GENERATOR,
}
"""Generator of each modality; a further modality is one file and one line here."""

MODALITIES: tuple[str, ...] = tuple(GENERATORS)
"""Names of the modalities."""

CLASSES: dict[str, tuple[str, ...]] = {name: each.classes for name, each in GENERATORS.items()}
"""Class labels of each modality, the healthy one first."""

SIZES = (32, 1024)
"""Smallest and largest image side in pixels."""

HOUNSFIELD_WINDOW = (-1000, 1000)
"""Hounsfield units shown as 0 and 255."""


def generate(
    modality: str, index: int, *, seed: int = 0, split: str = "test", size: int = 256
) -> Sample:
    """Return sample `index`: a pure function of the arguments.

    The latent state depends on (seed, split, modality, index) only; `size` gives the same scene
    with more or fewer pixels. Samples of different splits come from different random streams.

    Args:
        modality: one of `MODALITIES`.
        index: position in the endless list of samples, 0 or more.
        seed: which data set, 0 or more.
        split: "train", "val" or "test".
        size: image side in pixels, 32 to 1024.

    Raises:
        UsageError: an argument is not among these.
    """
    _check_name("modality", modality, MODALITIES)
    _check_name("split", split, SPLITS)
    _check_integer("index", index, 0, None)
    _check_integer("seed", seed, 0, None)
    _check_integer("size", size, *SIZES)
    generator = GENERATORS[modality]
    streams = open_streams(modality, int(index), int(seed), split)
    state = generator.draw(streams.state)
    rendering = generator.render(state, make_canvas(size, streams.texture))
    pixels = shrink(rendering.pixels, size)
    hounsfield = to_hounsfield(pixels) if generator.hounsfield else None
    return Sample(
        image=to_uint8(pixels) if hounsfield is None else window_hounsfield(hounsfield),
        hounsfield=hounsfield,
        label=state.finding.label,
        mask=shrink_mask(rendering.lesion, size),
        modality=modality,
        state=flatten_state(state),
    )


def to_uint8(pixels: Field) -> np.ndarray:
    """Quantise intensities in [0, 1] to uint8 RGB, half to even; grey fields are replicated."""
    levels = np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
    if levels.ndim == 3:
        return levels
    return np.repeat(levels[..., None], 3, axis=2)


def to_hounsfield(pixels: Field) -> np.ndarray:
    """Round Hounsfield units to int16, limited to the 12-bit range -1024 to 3071."""
    return np.rint(np.clip(pixels, -1024, 3071)).astype(np.int16)


def window_hounsfield(hounsfield: np.ndarray) -> np.ndarray:
    """Map `HOUNSFIELD_WINDOW` linearly to uint8 RGB, clipped, half to even."""
    low, high = HOUNSFIELD_WINDOW
    return to_uint8((hounsfield.astype(np.float32) - low) / np.float32(high - low))


def flatten_state(state: Any) -> dict[str, StateValue]:
    """Flatten a state dataclass: the finding's fields first, then the others by name."""
    fields = asdict(state)
    flat: dict[str, StateValue] = dict(fields.pop("finding"))
    for name, value in fields.items():
        if isinstance(value, dict):
            flat.update({f"{name}_{key}": part for key, part in value.items()})
        else:
            flat[name] = value
    return flat


def _check_name(what: str, name: object, known: tuple[str, ...]) -> None:
    if isinstance(name, str) and name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"Unknown medsynth {what} {name!r}.{hint} Known: {', '.join(known)}.")


def _check_integer(what: str, value: object, low: int, high: int | None) -> None:
    limits = f"{low} or more" if high is None else f"{low} to {high}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        number = int(value)
        if low <= number and (high is None or number <= high):
            return
    raise UsageError(f"medsynth {what} is {value!r}; give an integer, {limits}.")
