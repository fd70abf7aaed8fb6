"""Latent state: seeded random streams and the finding that every scene may carry."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

SPLITS: tuple[str, ...] = ("train", "val", "test")
"""Splits; the position enters the seed, so the streams of two splits never meet."""

HEALTHY = "normal"
"""Class label of a scene without a finding."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Key:
    """Which sample: the four values fix every draw.

    Attributes:
        modality: name of the modality.
        index: position in the list of samples, 0 or more.
        seed: which data set, 0 or more.
        split: one of `SPLITS`.
    """

    modality: str
    index: int
    seed: int
    split: str


@dataclass(frozen=True, slots=True)
class Streams:
    """Independent generators of one sample.

    Attributes:
        state: draws the latent state.
        texture: draws what the rendering adds to it.
        caption: chooses the caption's phrasing.
        questions: chooses the questions and their phrasing.
    """

    state: np.random.Generator
    texture: np.random.Generator
    caption: np.random.Generator
    questions: np.random.Generator


def open_streams(key: Key) -> Streams:
    """Return the generators of one sample."""
    children = _seeds(key.modality, key.index, key).spawn(4)
    return Streams(*(np.random.Generator(np.random.Philox(child)) for child in children))


def open_stream(purpose: str, number: int, key: Key) -> np.random.Generator:
    """Return a generator that several samples of the key's seed, split and modality share."""
    seeds = _seeds(f"{key.modality}/{purpose}", number, key)
    return np.random.Generator(np.random.Philox(seeds))


def _seeds(name: str, number: int, key: Key) -> np.random.SeedSequence:
    entropy = [key.seed, SPLITS.index(key.split), zlib.crc32(name.encode()), number]
    return np.random.SeedSequence(entropy)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a finding may lie, in fractions of the image side.

    Attributes:
        offset: horizontal distance from the vertical midline, low and high.
        y: vertical position, low and high, 0 at the top.
        radius: low (mildest) and high (most severe) radius.
    """

    offset: Range
    y: Range
    radius: Range


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong in the scene, if anything, and where.

    Attributes:
        label: class label.
        present: False exactly where `label` is the healthy class.
        severity: 0 to 1; 0 where nothing is present.
        grade: "none", "mild", "moderate" or "severe", by thirds of `severity`.
        side: half of the *image* that holds the finding: "left", "right" or "none".
        x: horizontal position, fraction of the image side.
        y: vertical position, fraction of the image side, 0 at the top.
        radius: radius, fraction of the image side; 0 where nothing is present.
    """

    label: str
    present: bool
    severity: float
    grade: str
    side: str
    x: float
    y: float
    radius: float


def draw_finding(
    rng: np.random.Generator, classes: tuple[str, ...], placement: Placement
) -> Finding:
    """Draw a class uniformly, then severity, side, position and radius."""
    label = pick(rng, classes)
    severity = float(rng.uniform(0.0, 1.0))
    sign = 1.0 if rng.uniform() < 0.5 else -1.0
    x = 0.5 + sign * uniform(rng, placement.offset)
    y = uniform(rng, placement.y)
    low, high = placement.radius
    radius = low + (high - low) * float(np.clip(severity + rng.normal(0.0, 0.12), 0.0, 1.0))
    if label == HEALTHY:
        return Finding(label, False, 0.0, "none", "none", x, y, 0.0)
    grade = ("mild", "moderate", "severe")[min(2, int(severity * 3.0))]
    side = "right" if sign > 0 else "left"
    return Finding(label, True, severity, grade, side, x, y, radius)


def uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Draw one plain float uniformly from `bounds`."""
    return float(rng.uniform(*bounds))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Draw True with the given probability."""
    return bool(rng.uniform() < probability)


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """Draw one of the options uniformly."""
    return options[int(rng.integers(len(options)))]
