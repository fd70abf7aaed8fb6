"""Distances between the originals and the reconstructions as sets: per group, pooled, macro."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.feature_sets import (
    MINIMUM_IMAGES,
    is_rank_deficient,
    require_enough_images,
)
from ...harness.metrics.references import ReconstructionReference, Reconstructions
from ...harness.statistics.draws import DrawStream
from ...harness.statistics.halves import halves_interval, macro_of_halves, random_halves
from ...harness.statistics.intervals import Z_95, Interval
from ...harness.vocabulary import MACRO, POOLED
from .aggregate import Aggregator, Found, found
from .definitions import COMMON_N, DRAWN_RULE, DRAWS, FIXED, LIMIT, joined

if TYPE_CHECKING:
    from .features import Space


@dataclass(frozen=True, slots=True)
class Sets:
    """Originals and reconstructions in one feature space."""

    space: Space
    reference: ReconstructionReference
    candidate: Reconstructions


def add_distances(aggregate: Aggregator, sets: Sets) -> None:
    """Append the Fréchet distance in its three forms, and the kernel distance."""
    space = sets.space
    distances = _Distances(aggregate, sets)
    _add(aggregate, space.kernel, space.setting, distances.kernel)
    whole = _add(aggregate, space.frechet, space.setting, distances.frechet)
    _add_limit(aggregate, sets, whole)
    for group in [*aggregate.plan.groups, POOLED]:
        value = fixed_count(aggregate, sets, group)
        if value is not None:
            setting = joined(space.setting, FIXED)
            aggregate.add(space.frechet, group, value, setting)
    for name in space.absent:
        for group in aggregate.overall:
            aggregate.add(name, group, space.reason)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A distance of one group."""

    interval: Interval
    half: float
    """Mean over the halves."""
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
        spread = sets.reference.frechet_over(sets.candidate, self._halves(group, rows))
        few = is_rank_deficient(len(rows), sets.reference.dims)
        return self._measured(value, spread, rows, ("rank-deficient",) if few else ())

    def kernel(self, group: str) -> _Measured:
        """Kernel distance; as `frechet`."""
        sets, rows = self.sets, self._rows(group, self.sets.space.kernel)
        value = sets.reference.kernel(sets.candidate, rows, name=sets.space.kernel)
        spread = sets.reference.kernel_over(sets.candidate, self._halves(group, rows))
        return self._measured(value, spread, rows, ())

    def _rows(self, group: str, name: str) -> np.ndarray:
        rows = self.aggregate.rows(group)
        require_enough_images(len(rows), name)
        return rows

    def _halves(self, group: str, rows: np.ndarray) -> np.ndarray:
        fingerprint = self.aggregate.store.fingerprint
        return rows[random_halves(len(rows), fingerprint=fingerprint, stratum=group)]

    def _measured(
        self, value: float, spread: np.ndarray, rows: np.ndarray, flags: tuple[str, ...]
    ) -> _Measured:
        return _Measured(halves_interval(value, spread, len(rows)), float(spread.mean()), flags)


def _add(
    aggregate: Aggregator, name: str, setting: str, measure: Callable[[str], _Measured]
) -> Mapping[str, _Measured]:
    """Append one distance of every group; returns the values."""
    known: dict[str, _Measured] = {}
    alone = len(aggregate.plan.groups) == 1
    for group in [*aggregate.plan.groups, POOLED]:
        try:
            # A single modality is all images: its 200 halves serve both.
            known[group] = next(iter(known.values())) if alone and known else measure(group)
        except MetricError as error:
            aggregate.add(name, group, str(error), setting)
            continue
        keep = aggregate.keeps(name, group) and not setting
        value = found(known[group].interval, keep=keep, flags=known[group].flags)
        aggregate.add(name, group, value, setting)
    if aggregate.has_macro:
        aggregate.add(name, MACRO, _macro(aggregate, name, setting, known), setting)
    return known


def _macro(
    aggregate: Aggregator, name: str, setting: str, known: Mapping[str, _Measured]
) -> Found | str:
    missing = [group for group in aggregate.plan.groups if group not in known]
    if missing:
        which = ", ".join(missing) if known.keys() - {POOLED} else "all of them"
        return f"too few images for a mean over modalities in {which}"
    parts = [known[group] for group in aggregate.plan.groups]
    flags = tuple(dict.fromkeys(flag for part in parts for flag in part.flags))
    interval = macro_of_halves([part.interval for part in parts])
    return found(interval, keep=aggregate.keeps(name, MACRO) and not setting, flags=flags)


def _add_limit(aggregate: Aggregator, sets: Sets, whole: Mapping[str, _Measured]) -> None:
    """The distance extrapolated to infinitely many images, along a line in 1/n.

    The line goes through n and, as the mean over the halves, n/2: at 1/n = 0 it is
    2 F(n) - F(n/2). To first order the halves move both alike, so the spread is that of F(n).

    Source: Chong, Forsyth, "Effectively unbiased FID and Inception score and where to find them",
    CVPR 2020.
    """
    name, setting = sets.space.frechet, joined(sets.space.setting, LIMIT)
    for group, each in whole.items():
        count = len(aggregate.rows(group))
        if count < 2 * MINIMUM_IMAGES:
            reason = (
                f"{name}: {count} images; the line in 1/n needs {2 * MINIMUM_IMAGES}, so that a "
                f"half has {MINIMUM_IMAGES}"
            )
            aggregate.add(name, group, reason, setting)
            continue
        value = 2.0 * each.interval.value - each.half
        margin = each.interval.value - float(each.interval.low or 0.0)
        flags = ["rank-deficient"] if is_rank_deficient(count // 2, sets.reference.dims) else []
        if value < 0.0:
            flags.append("not resolved from 0")
        limit = Found(max(0.0, value), count, value - margin, value + margin, flags=flags)
        aggregate.add(name, group, limit, setting)


def fixed_count(aggregate: Aggregator, sets: Sets, group: str) -> Found | str | None:
    """The mean over draws of 500 images; None for a modality that has fewer."""
    rows = aggregate.rows(group)
    name = sets.space.frechet
    if len(rows) < COMMON_N:
        reason = f"{name} at a common n: {len(rows)} images, {COMMON_N} are needed"
        return reason if group == POOLED else None
    flags = ["rank-deficient"] if is_rank_deficient(COMMON_N, sets.reference.dims) else []
    if len(rows) == COMMON_N:
        value = sets.reference.frechet(sets.candidate, rows, name=name)
        return Found(value, COMMON_N, flags=flags)
    stream = DrawStream(DRAWN_RULE, aggregate.store.fingerprint, group)
    drawn = rows[stream.without_replacement(DRAWS, len(rows), COMMON_N)]
    values = sets.reference.frechet_over(sets.candidate, drawn)
    mean, margin = float(values.mean()), Z_95 * float(values.std(ddof=1))
    return Found(mean, COMMON_N, mean - margin, mean + margin, flags=flags)
