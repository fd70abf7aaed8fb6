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
        copies: float32 (k, d), reconstructions of some of the learnt images.
    """

    name: str
    reference: Features
    held_out: np.ndarray
    floor: Features
    real: Features
    learnt: np.ndarray
    samples: tuple[Features, ...]
    flags: tuple[str, ...]
    copies: Features


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
        np.concatenate([each.copies for each in sets]),
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
    """The check for memorisation, by group, and what copies of training images would score.

    Args:
        scores: what it is added to.
        sets: by group.
        training: float32 (N, d), memory-mapped; `ClassSets.learnt` names its rows.
    """
    found: dict[str, NearestTraining] = {}
    values: dict[str, Value | str] = {}
    of_copies: dict[str, Value | str] = {}
    for each in sets:
        scale = _usual_distance(each, training)
        if isinstance(scale, str):
            values[each.name] = of_copies[each.name] = scale
            continue
        pairs = [nearest(samples, training, each.learnt) for samples in each.samples]
        found[each.name] = NearestTraining(
            tuple(distances / scale for _, distances in pairs), tuple(rows for rows, _ in pairs)
        )
        means = tuple(float(ratios.mean()) for ratios in found[each.name].ratios)
        values[each.name] = Value(means, len(each.samples[0]), each.flags)
        _, lost = nearest(each.copies, training, each.learnt)
        copied = (float(lost.mean()) / scale,)
        of_copies[each.name] = Value(copied, len(each.copies), each.flags)
    scores.add("nearest_training", values)
    scores.add("nearest_training", of_copies, setting=FLOOR)
    return found


def _usual_distance(sets: ClassSets, training: Features) -> float | str:
    """Mean distance of held-out images to the nearest training image; a text where unknown."""
    unseen = sets.reference[sets.held_out]
    if len(unseen) < FEWEST_UNSEEN:
        return (
            f"only {len(unseen)} images of the reference are no training images, and at least "
            f"{FEWEST_UNSEEN} are needed to say how far a new image usually lies"
        )
    _, usual = nearest(unseen, training, sets.learnt)
    if not usual.mean() > 0:
        return "every held-out image has an exact copy among the training images"
    return float(usual.mean())


def add_names(
    scores: Scores,
    classes: Sequence[str],
    named: Sequence[np.ndarray],
    wanted: np.ndarray,
    *,
    setting: str = "",
    flags: Sequence[tuple[str, ...]] | None = None,
) -> None:
    """Share of images that the namer calls by their own class.

    Args:
        scores: what it is added to.
        classes: names by number.
        named: per seed, int64 (n,).
        wanted: int64 (n,), the class that was asked for.
        setting: of the metric.
        flags: of each class; None: none.
    """
    flags = flags or [()] * len(classes)
    right = [each == wanted for each in named]
    groups: dict[str, Value | str] = {}
    for number, name in enumerate(classes):
        rows = wanted == number
        shares = tuple(float(each[rows].mean()) for each in right)
        groups[name] = Value(shares, int(rows.sum()), flags[number])
    of_any = tuple(dict.fromkeys(flag for of_class in flags for flag in of_class))
    groups[POOLED] = Value(tuple(float(each.mean()) for each in right), len(wanted), of_any)
    scores.add("class_accuracy", groups, setting=setting)


def add_real_names(
    scores: Scores, reference: Sequence[ReferenceClass], named: np.ndarray, *, setting: str
) -> None:
    """`add_names` of the reference, or of its reconstructions.

    The namer has learnt the training images by heart: they count only in classes that have too few
    others, which are flagged.

    Args:
        scores: what it is added to.
        reference: by class.
        named: int64 (n,), of all its images, class after class.
        setting: of the metric.
    """
    enough = [sum(each.held_out) >= FEWEST_UNSEEN for each in reference]
    counted = [
        np.array(each.held_out) if known else np.ones(len(each.images), dtype=bool)
        for each, known in zip(reference, enough, strict=True)
    ]
    truth = np.repeat(np.arange(len(reference)), [len(each.images) for each in reference])
    rows = np.concatenate(counted)
    flags = [() if known else each.flags for each, known in zip(reference, enough, strict=True)]
    classes = [each.name for each in reference]
    add_names(scores, classes, [named[rows]], truth[rows], setting=setting, flags=flags)


def reference_facts(reference: Sequence[ReferenceClass], fingerprint: str) -> dict:
    """Which images the reference is, for messages and definitions."""
    return {
        "fingerprint": fingerprint,
        "images": {each.name: len(each.images) for each in reference},
    }
