"""The scores of sample sets against the reference, class by class and pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.feature_sets import is_rank_deficient
from ...harness.metrics.prdc import nearest, prdc
from ...harness.metrics.references import GenerationReference, Samples
from ...harness.vocabulary import FLOOR, POOLED, REAL
from .definitions import NAMES, NEIGHBOURS
from .scores import Scores, Value

if TYPE_CHECKING:
    from ..recon.features import Space
    from .reference import ReferenceClass

FEWEST_UNSEEN = 5
"""Real images that a generator has not learnt, from which their usual distance is known."""

Features = np.ndarray
Number = Callable[[Features, Features], float]


@dataclass(frozen=True, slots=True, eq=False)
class ClassSets:
    """Features of one class, or of all pooled.

    Attributes:
        name: of the group.
        reference: float32 (n, d).
        held_out: bool (n,), which of them no generator has learnt.
        floor: float32 (n, d), reconstructions of the reference.
        real: float32 (n, d), other real images; fewer rows where there are not so many.
        learnt: int64 (m,), rows of the training images' features.
        samples: per sampling seed, float32 (n, d).
        flags: of the reference.
    """

    name: str
    reference: Features
    held_out: np.ndarray
    floor: Features
    real: Features
    learnt: np.ndarray
    samples: tuple[Features, ...]
    flags: tuple[str, ...]


def pooled(sets: Sequence[ClassSets]) -> ClassSets:
    """All classes together."""
    return ClassSets(
        POOLED,
        np.concatenate([each.reference for each in sets]),
        np.concatenate([each.held_out for each in sets]),
        np.concatenate([each.floor for each in sets]),
        np.concatenate([each.real for each in sets]),
        np.concatenate([each.learnt for each in sets]),
        tuple(
            np.concatenate(parts) for parts in zip(*(each.samples for each in sets), strict=True)
        ),
        tuple(dict.fromkeys(flag for each in sets for flag in each.flags)),
    )


def add_distances(scores: Scores, space: Space, sets: Sequence[ClassSets], facts: dict) -> None:
    """Fréchet and kernel distance: of samples, of as many real images, of reconstructions."""
    for own in (space.frechet, space.kernel):
        name = NAMES[own]
        frechet = own == space.frechet
        for setting in ("", REAL, FLOOR):
            groups = {
                each.name: _distances(each, name, setting, frechet, space, facts) for each in sets
            }
            scores.add(name, groups, setting=setting)
    for own in space.absent:
        scores.add(NAMES[own], {each.name: space.reason for each in sets})


def _distances(
    sets: ClassSets, name: str, setting: str, frechet: bool, space: Space, facts: dict
) -> Value | str:
    count = len(sets.reference)
    if setting == REAL and len(sets.real) < count:
        return (
            f"only {len(sets.real)} real images beside the {count} of the reference: a distance "
            "between sets of other sizes would be another number"
        )
    candidates = {"": sets.samples, FLOOR: (sets.floor,), REAL: (sets.real,)}[setting]
    flags = list(sets.flags)
    if frechet and is_rank_deficient(count, sets.reference.shape[1]):
        flags.append("rank-deficient")
    try:
        against = GenerationReference(
            sets.reference, space=space.name, images=facts, flags=sets.flags
        )
        measure = against.frechet if frechet else against.kernel
        values = [measure(Samples(each, space.name), name=name) for each in candidates]
    except MetricError as error:
        return str(error)
    return Value(tuple(values), count, tuple(flags))


def add_neighbours(scores: Scores, sets: Sequence[ClassSets]) -> None:
    """Precision, recall, density and coverage of the samples."""
    names = ("precision", "recall", "density", "coverage")
    found: dict[str, dict[str, Value | str]] = {name: {} for name in names}
    for each in sets:
        try:
            shares = [
                prdc(each.reference, samples, neighbours=NEIGHBOURS) for samples in each.samples
            ]
        except MetricError as error:
            for name in names:
                found[name][each.name] = str(error)
            continue
        for name in names:
            values = tuple(getattr(share, name) for share in shares)
            found[name][each.name] = Value(values, len(each.reference), each.flags)
    for name in names:
        scores.add(name, found[name])


@dataclass(frozen=True, slots=True, eq=False)
class NearestTraining:
    """How near each sample comes to a training image.

    Attributes:
        ratios: per seed, float64 (n,): its distance over the mean distance of real images that
            no generator has learnt. Far below one: copied.
        rows: per seed, int64 (n,), row of the nearest training image.
    """

    ratios: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, ...]


def add_nearest(
    scores: Scores, sets: Sequence[ClassSets], training: Features
) -> dict[str, NearestTraining]:
    """The check for memorisation, by group.

    Args:
        scores: what it is added to.
        sets: by group.
        training: float32 (N, d), memory-mapped; `ClassSets.learnt` names its rows.
    """
    found: dict[str, NearestTraining] = {}
    values: dict[str, Value | str] = {}
    for each in sets:
        unseen = each.reference[each.held_out]
        if len(unseen) < FEWEST_UNSEEN:
            values[each.name] = (
                f"only {len(unseen)} images of the reference are no training images, and at least "
                f"{FEWEST_UNSEEN} are needed to say how far a new image usually lies"
            )
            continue
        _, usual = nearest(unseen, training, each.learnt)
        scale = float(usual.mean())
        if not scale > 0:
            values[each.name] = "every held-out image has an exact copy among the training images"
            continue
        pairs = [nearest(samples, training, each.learnt) for samples in each.samples]
        found[each.name] = NearestTraining(
            tuple(distances / scale for _, distances in pairs), tuple(rows for rows, _ in pairs)
        )
        means = tuple(float(ratios.mean()) for ratios in found[each.name].ratios)
        values[each.name] = Value(means, len(each.samples[0]), each.flags)
    scores.add("nearest_training", values)
    return found


def add_names(
    scores: Scores,
    classes: Sequence[str],
    named: Sequence[np.ndarray],
    wanted: np.ndarray,
    *,
    setting: str = "",
) -> None:
    """Share of images that the namer calls by their own class.

    Args:
        scores: what it is added to.
        classes: names by number.
        named: per seed, int64 (n,).
        wanted: int64 (n,), the class that was asked for.
        setting: of the metric.
    """
    right = [each == wanted for each in named]
    groups: dict[str, Value | str] = {}
    for number, name in enumerate(classes):
        rows = wanted == number
        shares = tuple(float(each[rows].mean()) for each in right)
        groups[name] = Value(shares, int(rows.sum()))
    groups[POOLED] = Value(tuple(float(each.mean()) for each in right), len(wanted))
    scores.add("class_accuracy", groups, setting=setting)


def reference_facts(reference: Sequence[ReferenceClass], fingerprint: str) -> dict:
    """Which images the reference is, for messages and definitions."""
    return {
        "fingerprint": fingerprint,
        "images": {each.name: len(each.images) for each in reference},
    }
