"""Distances between the originals and the reconstructions as sets: per group, pooled, macro."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.feature_sets import (
    MINIMUM_IMAGES,
    is_rank_deficient,
    require_enough_images,
)
from ...harness.metrics.references import ReconstructionReference, Reconstructions
from ...harness.statistics.draws import DrawStream, unit_numbers
from ...harness.statistics.halves import (
    FEWEST_UNITS,
    halves_interval,
    macro_of_halves,
    random_halves,
)
from ...harness.statistics.intervals import Z_95, Interval
from ...harness.vocabulary import MACRO, POOLED
from .aggregate import Aggregator, Found, found
from .definitions import COMMON_N, DRAWN_RULE, DRAWS, FIXED, LIMIT, WEIGHTED, joined

if TYPE_CHECKING:
    from .features import Space


_DRAWN = f"{DRAWS} draws"


@dataclass(frozen=True, slots=True)
class Sets:
    """Originals and reconstructions in one feature space."""

    space: Space
    reference: ReconstructionReference
    candidate: Reconstructions


def add_distances(aggregate: Aggregator, sets: Sets) -> None:
    """Append the Fréchet distance in its forms, and the kernel distance."""
    space = sets.space
    distances = _Distances(aggregate, sets)
    _add(aggregate, space.kernel, space.setting, distances.kernel)
    whole = _add(aggregate, space.frechet, space.setting, distances.frechet)
    _add_limit(aggregate, sets, whole)
    _add_fixed(aggregate, sets, whole)
    for name in space.absent:
        for group in aggregate.overall:
            aggregate.add(name, group, space.reason)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A distance of one group."""

    interval: Interval
    half: float | None
    """Mean over the halves; None where there are too few patients for halves."""
    flags: tuple[str, ...]


class _Distances:
    """Both distances of one group, with their halves."""

    def __init__(self, aggregate: Aggregator, sets: Sets) -> None:
        self.aggregate, self.sets = aggregate, sets

    def frechet(self, group: str) -> _Measured:
        """Fréchet distance.

        Raises:
            MetricError: fewer than 100 images.
        """
        sets, rows = self.sets, self._rows(group, self.sets.space.frechet)
        value = sets.reference.frechet(sets.candidate, rows, name=sets.space.frechet)
        few = is_rank_deficient(len(rows), sets.reference.dims)
        flags = ("rank-deficient",) if few else ()
        return self._measured(group, value, sets.reference.frechet_over, flags)

    def kernel(self, group: str) -> _Measured:
        """Kernel distance; as `frechet`."""
        sets, rows = self.sets, self._rows(group, self.sets.space.kernel)
        value = sets.reference.kernel(sets.candidate, rows, name=sets.space.kernel)
        return self._measured(group, value, sets.reference.kernel_over, ())

    def _rows(self, group: str, name: str) -> np.ndarray:
        rows = self.aggregate.rows(group)
        require_enough_images(len(rows), name)
        return rows

    def _measured(
        self,
        group: str,
        value: float,
        over: Callable[[Reconstructions, np.ndarray], np.ndarray],
        flags: tuple[str, ...],
    ) -> _Measured:
        rows = self.aggregate.rows(group)
        patients = unit_numbers(self.aggregate.patients[rows].tolist())
        units = int(patients.max()) + 1
        if units < FEWEST_UNITS:
            alone = Interval(value, None, None, len(rows), units, np.empty(0))
            return _Measured(alone, None, (*flags, f"no interval: {units} patients or volumes"))
        fingerprint = self.aggregate.store.fingerprint
        halves = random_halves(patients, fingerprint=fingerprint, stratum=group)
        spread = over(self.sets.candidate, rows[halves])
        interval = halves_interval(value, spread, len(rows), units)
        return _Measured(interval, float(spread.mean()), flags)


def _add(
    aggregate: Aggregator, name: str, setting: str, measure: Callable[[str], _Measured]
) -> Mapping[str, _Measured]:
    """Append one distance of every group; returns the values."""
    known: dict[str, _Measured] = {}
    sets = [name for name in aggregate.sets if len(aggregate.rows(name)) >= MINIMUM_IMAGES]
    for group in [*aggregate.plan.groups, POOLED, *sets]:
        try:
            # A single modality is all images, and often one set of a union: their halves serve.
            same = _same_images(aggregate, known, group)
            known[group] = measure(group) if same is None else known[same]
        except MetricError as error:
            aggregate.add(name, group, str(error), setting)
            continue
        keep = aggregate.keeps(name, group) and not setting
        value = found(known[group].interval, keep=keep, flags=known[group].flags)
        aggregate.add(name, group, value, setting)
    if aggregate.has_macro:
        _add_means(aggregate, name, setting, known)
    return known


def _same_images(aggregate: Aggregator, known: Mapping[str, _Measured], group: str) -> str | None:
    rows = aggregate.rows(group)
    return next((name for name in known if np.array_equal(aggregate.rows(name), rows)), None)


def _add_means(
    aggregate: Aggregator, name: str, setting: str, known: Mapping[str, _Measured]
) -> None:
    """Append the mean over modalities, and the one weighted by their images."""
    weighted = joined(setting, WEIGHTED)
    groups = list(aggregate.plan.groups)
    missing = [group for group in groups if group not in known]
    if missing:
        which = ", ".join(missing) if len(missing) < len(groups) else "all of them"
        reason = f"too few images for a mean over modalities in {which}"
        for each in (setting, weighted):
            aggregate.add(name, MACRO, reason, each)
        return
    flags = tuple(dict.fromkeys(flag for group in groups for flag in known[group].flags))
    parts = [known[group].interval for group in groups]
    keep = aggregate.keeps(name, MACRO) and not setting
    value = found(macro_of_halves(parts), keep=keep, flags=flags)
    aggregate.add(name, MACRO, value, setting)
    value = found(macro_of_halves(parts, [part.count for part in parts]), flags=flags)
    aggregate.add(name, MACRO, value, weighted)


def _add_limit(aggregate: Aggregator, sets: Sets, whole: Mapping[str, _Measured]) -> None:
    """The distance extrapolated to infinitely many images, along a line in 1/n.

    The line goes through n and, as the mean over the halves, n/2: at 1/n = 0 it is
    2 F(n) - F(n/2). To first order the halves move both alike, so the spread is that of F(n).

    Source: Chong, Forsyth, "Effectively unbiased FID and Inception score and where to find them",
    CVPR 2020.
    """
    name, setting = sets.space.frechet, joined(sets.space.setting, LIMIT)
    for group, each in whole.items():
        aggregate.add(name, group, _limit(name, each, sets.reference.dims), setting)


def _limit(name: str, whole: _Measured, dims: int) -> Found | str:
    interval, count = whole.interval, whole.interval.count
    if count < 2 * MINIMUM_IMAGES:
        return (
            f"{name}: {count} images; the line in 1/n needs {2 * MINIMUM_IMAGES}, so that a "
            f"half has {MINIMUM_IMAGES}"
        )
    if whole.half is None or interval.low is None:
        return (
            f"{name}: images of {interval.units} patients or volumes; the line in 1/n needs "
            f"halves, and those {FEWEST_UNITS}"
        )
    value, margin = 2.0 * interval.value - whole.half, interval.value - interval.low
    low, high = value - margin, value + margin
    if high < 0.0:
        return (
            f"{name}: the line in 1/n ends between {low:.3g} and {high:.3g}, below any distance: "
            f"with {count} images in {dims} dimensions it is no line"
        )
    flags = ["rank-deficient"] if is_rank_deficient(count // 2, dims) else []
    if value < 0.0:
        flags.append("not resolved from 0")
    return Found(max(0.0, value), count, low, high, flags=flags)


def _add_fixed(aggregate: Aggregator, sets: Sets, whole: Mapping[str, _Measured]) -> None:
    """The distance at a common number of images: groups that have them, pooled, and macro."""
    name, setting = sets.space.frechet, joined(sets.space.setting, FIXED)
    known: dict[str, Found] = {}
    for group, each in whole.items():
        if each.interval.count >= COMMON_N:
            same = _same_images(aggregate, {g: whole[g] for g in known}, group)
            known[group] = _fixed(aggregate, sets, group, each) if same is None else known[same]
            aggregate.add(name, group, known[group], setting)
    if POOLED not in known:
        count = len(aggregate.rows(POOLED))
        reason = f"{name} at a common n: {count} images, {COMMON_N} are needed"
        aggregate.add(name, POOLED, reason, setting)
    if aggregate.has_macro and known.keys() >= set(aggregate.plan.groups):
        parts = [known[group] for group in aggregate.plan.groups]
        aggregate.add(name, MACRO, _mean_of_fixed(parts), setting)


def _fixed(aggregate: Aggregator, sets: Sets, group: str, whole: _Measured) -> Found:
    """The mean over draws of 500 images.

    It varies with the images as the distance of all of them does (to first order), and with the
    draws as the mean of so many.
    """
    rows = aggregate.rows(group)
    interval, values = whole.interval, np.array([whole.interval.value])
    flags = ["rank-deficient"] if is_rank_deficient(COMMON_N, sets.reference.dims) else []
    noise = 0.0
    if len(rows) > COMMON_N:
        stream = DrawStream(DRAWN_RULE, aggregate.store.fingerprint, group)
        drawn = rows[stream.without_replacement(DRAWS, len(rows), COMMON_N)]
        values = sets.reference.frechet_over(sets.candidate, drawn)
        spread = float(values.std(ddof=1))
        noise = Z_95 * spread / math.sqrt(DRAWS)
        flags.insert(0, f"{_DRAWN}, standard deviation {spread:.3g}")
    mean = float(values.mean())
    if interval.low is None:
        why = whole.flags[-1]
        return Found(mean, COMMON_N, flags=[*flags, why])
    margin = math.hypot(interval.value - interval.low, noise)
    return Found(mean, COMMON_N, mean - margin, mean + margin, flags=flags)


def _mean_of_fixed(parts: Sequence[Found]) -> Found:
    """Unweighted mean over the modalities, whose images are independent."""
    value = float(np.mean([part.value for part in parts]))
    margins = [part.value - part.low for part in parts if part.low is not None]
    flags = dict.fromkeys(f for part in parts for f in part.flags if not f.startswith(_DRAWN))
    mean = Found(value, COMMON_N * len(parts), flags=list(flags))
    if len(margins) < len(parts):
        return mean
    margin = math.hypot(*margins) / len(parts)
    return replace(mean, low=value - margin, high=value + margin)
