"""Definitions of the synthesis metrics: all that changes a number, named and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...harness.record import Definition
from . import reference
from .generator.sampling import RULE as DRAWING
from .generator_facts import given_generator, read_facts
from .presets import DEFAULT, Preset, find_preset

if TYPE_CHECKING:
    from ...harness.task import Plan
    from ..recon.features import Space

NAMES = {
    "rfid": "gfid",
    "rfd_random": "gfd_random",
    "kid": "kid",
    "kid_random": "kid_random",
}
"""A space's distances by what they are called between reconstructions and between samples."""

COPIES = 16
"""Training images of each class at most, whose reconstructions say how near a copy lies."""
NEIGHBOURS = 5
SPREAD = (
    "mean of the sampling seeds of one generator; Student's interval of that mean, cut to the "
    "metric's range"
)


def chosen_preset(options: Mapping[str, str]) -> Preset:
    """The preset that the user chose, or the default one."""
    return find_preset(options.get("preset", DEFAULT))


def learnt_images(options: Mapping[str, str]) -> int | None:
    """Training images of each class at most: of the preset, or of a given generator."""
    if (given := given_generator(options)) is not None:
        return read_facts(given, options).train_images
    return chosen_preset(options).train_images


def samples_per_class(options: Mapping[str, str], limit: int | None) -> int:
    """The preset's, and no more than the user's limit: real images are then as many."""
    samples = chosen_preset(options).samples
    # A limit of one is refused for its training images, in words of its own.
    return samples if limit is None else min(samples, max(limit, 2))


def definitions(plan: Plan, space: Space) -> Mapping[str, Definition]:
    """Definitions by metric name, for the feature space that this machine has."""
    preset = chosen_preset(plan.options)
    shared = _shared(plan, preset)
    features = shared | {"extractor": dict(space.definition), "reference": reference.RULE}
    made: dict[str, Definition] = {}

    def define(name: str, facts: Mapping[str, Any]) -> None:
        made[name] = Definition(id=f"{name.replace('_', '-')}-samples-4", facts=dict(facts))

    formula = "Frechet distance of fitted Gaussians, unbiased covariances, equal n on both sides"
    define(NAMES[space.frechet], features | {"formula": formula})
    formula = "unbiased polynomial MMD, degree 3, gamma 1/d, all images"
    define(NAMES[space.kernel], features | {"formula": formula})
    for name in space.absent:
        define(NAMES[name], shared | {"needs": space.needs})
    neighbours = features | {"neighbours": NEIGHBOURS, "distance": "Euclidean, of features"}
    for name in ("precision", "recall", "density", "coverage"):
        define(name, neighbours)
    formula = "distance to the nearest training image / mean of the same of held-out real images"
    define("nearest_training", features | {"formula": formula, "copies per class": COPIES})
    pairs = {
        "formula": "1 - mean MS-SSIM over all distinct pairs",
        "images": preset.diversity_images,
        "ms_ssim": "five scales, Gaussian 11x11 sigma 1.5, range 255, per channel",
    }
    define("diversity", shared | pairs)
    define("class_accuracy", shared | {"namer": preset.classifier.terms()})
    return made


def _shared(plan: Plan, preset: Preset) -> dict[str, Any]:
    training: Mapping[str, Any] = preset.training_terms()
    if (given := given_generator(plan.options)) is not None:
        training = read_facts(given, plan.options).training
    return {
        "resolution": plan.resolution,
        "ingest": plan.ingest_rule,
        "split": plan.split,
        "limit": plan.limit,
        "output": "clamped to [0, 1] once, times 255, rounded half to even",
        "generator": dict(training),
        "sampling": {**asdict(preset.sampling), "draws": DRAWING},
        "samples per class": samples_per_class(plan.options, plan.limit),
        "sampling seeds of one generator": preset.seeds,
        "spread": SPREAD,
    }
