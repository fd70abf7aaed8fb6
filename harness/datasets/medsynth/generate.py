"""The registry of modalities and the one function that makes a sample."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from . import (
    ct,
    dermoscopy,
    endoscopy,
    fundus,
    microscopy,
    mri,
    pathology,
    ultrasound,
    xray,
)
from .canvas import Field, make_canvas, shrink, shrink_mask
from .captions import write_caption
from .latent import SPLITS, Key, Streams, open_streams
from .patients import Patient, draw_state, find_patient
from .questions_topics import write_questions
from .sample import Description, Generator, Sample, StateValue

GENERATOR_VERSION: int = 4
"""Raised by hand whenever any pixel of any modality may change."""

GENERATORS: dict[str, Generator] = {
    "ct": ct.GENERATOR,
    "dermoscopy": dermoscopy.GENERATOR,
    "endoscopy": endoscopy.GENERATOR,
    "fundus": fundus.GENERATOR,
    "microscopy": microscopy.GENERATOR,
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
    key = _checked_key(modality, index, seed, split)
    _check_integer("size", size, *SIZES)
    scene = _draw(key)
    told = _describe(scene)
    generator = GENERATORS[modality]
    rendering = generator.render(scene.state, make_canvas(size, scene.streams.texture))
    pixels = shrink(rendering.pixels, size)
    hounsfield = to_hounsfield(pixels) if generator.hounsfield else None
    return Sample(
        image=to_uint8(pixels) if hounsfield is None else window_hounsfield(hounsfield),
        hounsfield=hounsfield,
        label=told.label,
        mask=shrink_mask(rendering.lesion, size),
        modality=modality,
        state=told.state,
        patient=told.patient,
        caption=told.caption,
        questions=told.questions,
    )


def describe(modality: str, index: int, *, seed: int = 0, split: str = "test") -> Description:
    """Return what `generate` tells about the same sample, without rendering it.

    Raises:
        UsageError: an argument is not among those that `generate` takes.
    """
    return _describe(_draw(_checked_key(modality, index, seed, split)))


@dataclass(frozen=True, slots=True)
class _Scene:
    """A drawn state, whose it is, and the streams that are left to draw from."""

    modality: str
    state: Any
    patient: Patient
    streams: Streams


def _draw(key: Key) -> _Scene:
    streams, patient = open_streams(key), find_patient(key)
    state = draw_state(GENERATORS[key.modality], key, streams.state, patient)
    return _Scene(key.modality, state, patient, streams)


def _describe(scene: _Scene) -> Description:
    return Description(
        label=scene.state.finding.label,
        modality=scene.modality,
        state=flatten_state(scene.state),
        patient=scene.patient.id,
        caption=write_caption(scene.modality, scene.state, scene.streams.caption),
        questions=write_questions(scene.modality, scene.state, CLASSES, scene.streams.questions),
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
    flat = {field.name: getattr(state.finding, field.name) for field in fields(state.finding)}
    for field in fields(state):
        value = getattr(state, field.name)
        if not is_dataclass(value):
            flat[field.name] = value
        elif field.name != "finding":
            parts = fields(value)
            flat.update({f"{field.name}_{part.name}": getattr(value, part.name) for part in parts})
    return flat


def _checked_key(modality: str, index: int, seed: int, split: str) -> Key:
    _check_name("modality", modality, MODALITIES)
    _check_name("split", split, SPLITS)
    _check_integer("index", index, 0, None)
    _check_integer("seed", seed, 0, None)
    return Key(modality, int(index), int(seed), split)


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
