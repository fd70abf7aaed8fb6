"""From per-image scores, features and codes to metrics with intervals, per group and overall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.errors import MetricError
from ...harness.metrics.codebook import codebook_statistics
from ...harness.metrics.feature_sets import is_rank_deficient, require_enough_images
from ...harness.metrics.frechet import frechet_distance, frechet_over_subsets
from ...harness.metrics.kid import kid, kid_over_subsets
from ...harness.record import Metric
from ...harness.statistics.bootstrap import Sample, bootstrap_means
from ...harness.statistics.halves import halves_interval, macro_of_halves, random_halves
from ...harness.statistics.intervals import Interval
from ...harness.vocabulary import MACRO, METRICS, POOLED
from .definitions import PER_IMAGE

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.record import Definition
    from ...harness.task import Plan
    from .features import Space


@dataclass(frozen=True, slots=True)
class Found:
    """A value with its interval, before it becomes a record's metric."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    replicates: list[float] | None = None
    flags: list[str] = field(default_factory=list)


def _found(interval: Interval, flags: list[str]) -> Found:
    return Found(interval.value, interval.count, interval.low, interval.high, flags=flags)


class Aggregator:
    """Makes the metrics of one cell; every method appends to `metrics`."""

    def __init__(
        self, plan: Plan, store: ImageStore, definitions: Mapping[str, Definition]
    ) -> None:
        self.plan, self.store, self.definitions = plan, store, definitions
        self.groups = np.array([row.group for row in store.rows])
        self.metrics: list[Metric] = []

    def add(self, name: str, group: str, found: Found | str) -> None:
        """Append a value, or (given a text) its absence with that reason."""
        facts, definition = METRICS[name], self.definitions[name]
        shared: dict[str, Any] = {
            "name": name,
            "group": group,
            "unit": facts.unit,
            "direction": facts.direction,
            "definition": definition.id,
            "definition_hash": definition.hash,
        }
        if isinstance(found, str):
            self.metrics.append(Metric(**shared, value=None, n=0, reason=found))
            return
        self.metrics.append(
            Metric(
                **shared,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                replicates=found.replicates,
                flags=found.flags,
            )
        )

    def per_image(self, scores: Mapping[str, np.ndarray]) -> None:
        """Means of per-image scores: each group, pooled, and macro, from common resamples."""
        patients = [row.patient or "" for row in self.store.rows]
        strata = [row.group for row in self.store.rows]
        sample = Sample(self.store.fingerprint, strata, patients)
        for name in PER_IMAGE:
            for group, interval in bootstrap_means(scores[name], sample).items():
                if group == MACRO and not self._has_macro():
                    continue
                keep = group == MACRO and METRICS[name].ranked
                self.add(
                    name,
                    group,
                    Found(
                        value=interval.value,
                        low=interval.low,
                        high=interval.high,
                        n=interval.count,
                        replicates=[float(f"{v:.7g}") for v in interval.replicates]
                        if keep
                        else None,
                    ),
                )

    def _has_macro(self) -> bool:
        return self.plan.macro and len(self.plan.groups) > 1

    def distances(self, space: Space, originals: np.ndarray, features: np.ndarray) -> None:
        """Fréchet and kernel distance of each group, pooled, and their macro mean."""
        for name in (space.frechet, space.kernel):
            intervals: dict[str, Interval] = {}
            for group in [*self.plan.groups, POOLED]:
                rows = self._rows(group)
                try:
                    require_enough_images(len(rows), name)
                except MetricError as error:
                    self.add(name, group, str(error))
                    continue
                frechet = name == space.frechet
                interval = self._distance(frechet, group, originals[rows], features[rows])
                intervals[group] = interval
                few = frechet and is_rank_deficient(len(rows), originals.shape[1])
                self.add(name, group, _found(interval, ["rank-deficient"] if few else []))
            if self._has_macro():
                self._macro_distance(name, intervals)
        for name in space.absent:
            for group in [POOLED, *([MACRO] if self._has_macro() else [])]:
                self.add(name, group, space.reason)

    def _macro_distance(self, name: str, intervals: Mapping[str, Interval]) -> None:
        missing = [group for group in self.plan.groups if group not in intervals]
        if missing:
            which = ", ".join(missing) if intervals.keys() - {POOLED} else "all of them"
            self.add(name, MACRO, f"too few images for a mean over modalities in {which}")
            return
        parts = [intervals[group] for group in self.plan.groups]
        deficient = [m for m in self.metrics if m.name == name and "rank-deficient" in m.flags]
        found = _found(macro_of_halves(parts), ["rank-deficient"] if deficient else [])
        self.add(name, MACRO, found)

    def _distance(
        self, frechet: bool, group: str, originals: np.ndarray, features: np.ndarray
    ) -> Interval:
        halves = random_halves(len(originals), fingerprint=self.store.fingerprint, stratum=group)
        if frechet:
            value = frechet_distance(originals, features)
            spread = frechet_over_subsets(originals, features, halves)
        else:
            value = kid(originals, features)
            spread = kid_over_subsets(originals, features, halves)
        return halves_interval(value, spread, len(originals))

    def _rows(self, group: str) -> np.ndarray:
        if group == POOLED:
            return np.arange(len(self.groups))
        return np.flatnonzero(self.groups == group)

    def codes(self, counts: Mapping[str, np.ndarray], positions: int) -> None:
        """Codebook usage and index entropy from int64 (K, V) histograms per group."""
        pooled = sum(counts.values())
        pixels = self.plan.resolution**2
        for group, histogram in {**counts, POOLED: pooled}.items():
            stats = codebook_statistics(np.asarray(histogram))
            n = stats.positions
            self.add("usage", group, Found(stats.usage, n=n))
            self.add("entropy", group, Found(stats.entropy_bits, n=n))
            effective = stats.entropy_bits * positions / pixels
            self.add("effective_bits_per_pixel", group, Found(effective, n=n))

    def rate(self, nominal: float | None, measured: np.ndarray | None) -> None:
        """Bits per image and per pixel: measured where the system says them, else nominal."""
        pixels = self.plan.resolution**2
        for group in [*self.plan.groups, POOLED]:
            rows = self._rows(group)
            if measured is not None:
                bits = float(measured[rows].mean())
            elif nominal is not None:
                bits = float(nominal)
            else:
                continue
            self.add("bits_per_image", group, Found(bits, n=len(rows)))
            self.add("bits_per_pixel", group, Found(bits / pixels, n=len(rows)))
