"""From per-image scores and codes to metrics with intervals, per group and overall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.datasets.union import sets_of
from ...harness.metrics.codebook import codebook_statistics
from ...harness.record_metric import Metric, metric_of
from ...harness.statistics.bootstrap import Sample, bootstrap_means
from ...harness.statistics.intervals import Interval
from ...harness.vocabulary import FACET, MACRO, METRICS, POOLED
from .definitions import key

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.record import Definition
    from ...harness.task import Plan


@dataclass(frozen=True, slots=True)
class Found:
    """A value with its interval, before it becomes a record's metric."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    replicates: list[float] | None = None
    flags: list[str] = field(default_factory=list)


def found(interval: Interval, *, keep: bool = False, flags: tuple[str, ...] = ()) -> Found:
    """An interval as a value; `keep` its replicates too."""
    replicates = list(interval.replicates) if keep else None
    return Found(
        interval.value,
        interval.count,
        interval.low,
        interval.high,
        replicates or None,
        list(flags),
    )


class Aggregator:
    """Makes the metrics of one cell; every method appends to `metrics`."""

    def __init__(
        self, plan: Plan, store: ImageStore, definitions: Mapping[str, Definition]
    ) -> None:
        self.plan, self.store, self.definitions = plan, store, definitions
        self.groups = np.array([row.group for row in store.rows])
        self.patients = np.array([row.patient or "" for row in store.rows])
        sets = sets_of(plan.dataset_id, (row.id for row in store.rows))
        self._sets = np.array([f"set:{each}" for each in sets])
        self.sets = [name for name in dict.fromkeys(self._sets) if FACET.fullmatch(name)]
        """Groups of the sets of a union; none of another data set."""
        self.metrics: list[Metric] = []

    def add(self, name: str, group: str, value: Found | str, setting: str = "") -> None:
        """Append a value, or (given a text) its absence with that reason."""
        facts: dict[str, Any] = {"reason": value} if isinstance(value, str) else asdict(value)
        definition = self.definitions[key(name, setting)]
        self.metrics.append(metric_of(name, group, definition, setting=setting, **facts))

    @property
    def overall(self) -> list[str]:
        """Groups over all images: pooled, and macro where it means something."""
        return [POOLED, MACRO] if self.has_macro else [POOLED]

    @property
    def has_macro(self) -> bool:
        """Whether there are several modalities whose mean the card allows."""
        return self.plan.macro and len(self.plan.groups) > 1

    def keeps(self, name: str, group: str) -> bool:
        """Whether the record stores the replicates: of what ranks a row."""
        ranks = MACRO if self.has_macro else POOLED
        return METRICS[name].ranked and group == ranks

    def per_image(self, scores: Mapping[str, np.ndarray]) -> None:
        """Means of per-image scores, from common resamples: groups, pooled, and macro.

        A NaN means that the score does not apply to the image (no lesion, a colour image); the
        mean is then over the others, and metrics without any are left out.
        """
        for name, values in scores.items():
            rows = np.flatnonzero(~np.isnan(values))
            if not len(rows):
                continue
            for group, interval in self._means(values, rows, self.groups).items():
                if group == MACRO and (not self.has_macro or len(set(self.groups[rows])) < 2):
                    continue
                self.add(name, group, found(interval, keep=self.keeps(name, group)))
            if self.sets:
                means = self._means(values, rows, self._sets)
                for group in [each for each in self.sets if each in means]:
                    self.add(name, group, found(means[group]))

    def _means(
        self, values: np.ndarray, rows: np.ndarray, strata: np.ndarray
    ) -> dict[str, Interval]:
        patients = self.patients[rows].tolist()
        sample = Sample(self.store.fingerprint, strata[rows].tolist(), patients)
        return bootstrap_means(values[rows], sample)

    def rows(self, group: str) -> np.ndarray:
        """Row numbers of a modality, of a set of a union, or of all images."""
        if group == POOLED:
            return np.arange(len(self.groups))
        return np.flatnonzero((self._sets if group in self.sets else self.groups) == group)

    def codes(self, counts: Mapping[str, np.ndarray], positions: int) -> None:
        """Codebook usage, entropy and perplexity from int64 (K, V) histograms per group."""
        pooled = sum(counts.values())
        pixels = self.plan.resolution**2
        for group, histogram in {**counts, POOLED: pooled}.items():
            stats = codebook_statistics(np.asarray(histogram))
            n = stats.positions
            self.add("usage", group, Found(stats.usage, n=n))
            self.add("entropy", group, Found(stats.entropy_bits, n=n))
            self.add("perplexity", group, Found(stats.perplexity, n=n))
            effective = stats.entropy_bits * positions / pixels
            self.add("effective_bits_per_pixel", group, Found(effective, n=n))

    def rate(self, nominal: float | None, measured: np.ndarray | None) -> None:
        """Bits per image and per pixel: measured where the system says them, else nominal."""
        pixels = self.plan.resolution**2
        for group in [*self.plan.groups, POOLED]:
            rows = self.rows(group)
            if measured is not None:
                bits = float(measured[rows].mean())
            elif nominal is not None:
                bits = float(nominal)
            else:
                continue
            self.add("bits_per_image", group, Found(bits, n=len(rows)))
            self.add("bits_per_pixel", group, Found(bits / pixels, n=len(rows)))
