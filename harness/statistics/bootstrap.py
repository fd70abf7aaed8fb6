"""Bootstrap intervals for means of per-image scores, and for other per-image statistics.

Images (or whole patients and volumes, where they are known) are drawn with replacement within
each stratum; the interval is the central 95 % of the replicates. All draws follow from the data's
fingerprint, so replicate r is the same draw for every tokenizer and every metric.

Not for Fréchet distances or KID: an image drawn twice lowers the spread of a set, and the
percentile interval of a distance between sets then misses its value. See `halves`.

Source: Efron, Tibshirani, "An introduction to the bootstrap", 1993, chapters 8 and 13; Davison,
Hinkley, "Bootstrap methods and their application", 1997, section 3.8 (clusters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError, UsageError
from ..vocabulary import MACRO, POOLED
from .draws import DrawStream, strata_rows, unit_numbers
from .intervals import CONFIDENCE, Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

REPLICATES = 1000
RULE = "bootstrap-1"
"""Name and version of the way to draw; part of the metric's definition, unlike the seed."""

_DRAWN_AT_A_TIME = 1 << 17
"""Indices held at once (1 MiB), whatever the number of images."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """How the images of a data set hang together: all that the draws may depend on.

    Attributes:
        fingerprint: of the images in their order; equal for every tokenizer.
        strata: a name for each image (its modality, or its class), N of them.
        clusters: a patient or volume key for each image; an empty string where it is unknown,
            which makes the image a unit of its own. None: unknown for all. A key that occurs
            in two strata counts as two units.
    """

    fingerprint: str
    strata: Sequence[str]
    clusters: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.clusters is not None and len(self.clusters) != len(self.strata):
            raise UsageError(
                f"{len(self.strata)} strata and {len(self.clusters)} clusters: "
                "give one of each per image."
            )
        if {POOLED, MACRO} & set(self.strata):
            raise UsageError(f"a stratum must not be called {POOLED!r} or {MACRO!r}.")

    def units(self) -> dict[str, StratumUnits]:
        """What is drawn in each stratum, strata in alphabetical order."""
        return {name: self._units_of(rows) for name, rows in strata_rows(self.strata).items()}

    def _units_of(self, rows: NDArray[np.int64]) -> StratumUnits:
        if self.clusters is None:
            return StratumUnits(rows, np.arange(len(rows)), len(rows))
        unit = unit_numbers([self.clusters[int(row)] for row in rows])
        return StratumUnits(rows, unit, int(unit.max()) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class StratumUnits:
    """The units of one stratum, each drawn as a whole.

    Attributes:
        rows: int64 (n,), the images of the stratum.
        unit: int64 (n,), the number of the unit that each image belongs to.
        count: number of units.
    """

    rows: NDArray[np.int64]
    unit: NDArray[np.int64]
    count: int


def bootstrap_means(
    values: NDArray[np.float64], sample: Sample, *, replicates: int = REPLICATES
) -> dict[str, Interval]:
    """Mean score of each stratum, of all images and of the strata, with intervals.

    Args:
        values: (N,), a score per image, in the order of `sample`.
        sample: strata and clusters of the images.
        replicates: number R of bootstrap draws.

    Returns:
        An interval for each stratum (mean over its images), for ``all`` (mean over all images,
        drawn by stratum) and for ``macro`` (unweighted mean over the strata). Without ends for
        a stratum of one unit, and for ``all`` and ``macro`` if there is such a stratum.

    Raises:
        MetricError: another number of values, or values that are not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    _check_values(values, sample)
    means: dict[str, Interval] = {}
    total, weight = np.zeros(replicates), np.zeros(replicates)
    for name, units in sample.units().items():
        scores = values[units.rows]
        sums = np.bincount(units.unit, weights=scores, minlength=units.count)
        sizes = np.bincount(units.unit, minlength=units.count).astype(np.float64)
        drawn_sums, drawn_sizes = np.empty(replicates), np.empty(replicates)
        for block, drawn in _draws(sample, name, units.count, replicates):
            drawn_sums[block] = sums[drawn].sum(axis=1)
            drawn_sizes[block] = sizes[drawn].sum(axis=1)
        total, weight = total + drawn_sums, weight + drawn_sizes
        means[name] = percentile_interval(
            float(scores.mean()), drawn_sums / drawn_sizes, len(scores), [units.count]
        )
    return means | _over_strata(values, means, total / weight)


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.int64]], float],
    sample: Sample,
    *,
    replicates: int = REPLICATES,
) -> Interval:
    """Interval of any statistic of a set of images, such as AUC, from the same draws.

    Args:
        statistic: value from row numbers, int64 (n,), in which rows may repeat. It must be a
            smooth function of the distribution of single images; distances between sets are not.
        sample: strata (for a classifier: the classes, so that none gets lost) and clusters.
        replicates: number R of bootstrap draws.

    Raises:
        MetricError: the statistic is not finite on all images or on a draw.
    """
    drawn_values = _of_draws([statistic], sample, replicates)[:, 0]
    count = len(sample.strata)
    value = float(statistic(np.arange(count)))
    if not (np.isfinite(value) and np.isfinite(drawn_values).all()):
        raise MetricError(
            f"the statistic is {value} on all images and not finite on "
            f"{int((~np.isfinite(drawn_values)).sum())} of {replicates} draws. Stratify so that "
            "every draw has what the statistic needs."
        )
    return percentile_interval(value, drawn_values, count, _unit_counts(sample))


def bootstrap_statistics(
    statistics: Sequence[Callable[[NDArray[np.int64]], float]],
    sample: Sample,
    *,
    replicates: int = REPLICATES,
) -> list[Interval]:
    """`bootstrap_statistic` of several statistics, whose draws are made once.

    A statistic that is not finite on all images or on a draw has an interval without ends.
    """
    drawn_values = _of_draws(statistics, sample, replicates)
    count, units = len(sample.strata), _unit_counts(sample)
    found = []
    for statistic, values in zip(statistics, drawn_values.T, strict=True):
        value = float(statistic(np.arange(count)))
        if np.isfinite(value) and np.isfinite(values).all():
            found.append(percentile_interval(value, values, count, units))
        else:
            found.append(Interval(value, None, None, count, sum(units), np.empty(0)))
    return found


def _unit_counts(sample: Sample) -> list[int]:
    return [units.count for units in sample.units().values()]


def _of_draws(
    statistics: Sequence[Callable[[NDArray[np.int64]], float]], sample: Sample, replicates: int
) -> NDArray[np.float64]:
    """Values (R, M) of M statistics on R draws."""
    strata = sample.units()
    streams = {name: DrawStream(RULE, sample.fingerprint, name) for name in strata}
    tables = {name: _UnitTable(units) for name, units in strata.items()}
    step = max(1, _DRAWN_AT_A_TIME // len(sample.strata))
    values = np.empty((replicates, len(statistics)))
    for start in range(0, replicates, step):
        stop = min(replicates, start + step)
        parts = [
            table.rows_of_draws(streams[name].with_replacement(stop - start, strata[name].count))
            for name, table in tables.items()
        ]
        for replicate, drawn in enumerate(zip(*parts, strict=True), start):
            rows = np.concatenate(drawn)
            values[replicate] = [statistic(rows) for statistic in statistics]
    return values


def percentile_interval(
    value: float, replicates: NDArray[np.float64], count: int, units: Sequence[int]
) -> Interval:
    """The central 95 % of bootstrap replicates around a value.

    Args:
        value: from all images.
        replicates: (R,).
        count: number of images.
        units: independent units of each stratum that was drawn from. One unit alone in its
            stratum is drawn every time, so its spread is unknown and the interval has no ends.
    """
    if min(units) < 2:
        return Interval(value, None, None, count, sum(units), np.empty(0))
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high), count, sum(units), replicates)


def _over_strata(
    values: NDArray[np.float64], means: dict[str, Interval], pooled: NDArray[np.float64]
) -> dict[str, Interval]:
    parts = list(means.values())
    units = [part.units for part in parts]
    macro = float(np.mean([part.value for part in parts]))
    # A part without ends has no replicates; the intervals over the strata then have none either.
    spread = min(units) > 1
    replicates = np.mean([part.replicates for part in parts], axis=0) if spread else pooled
    return {
        POOLED: percentile_interval(float(values.mean()), pooled, len(values), units),
        MACRO: percentile_interval(macro, replicates, len(values), units),
    }


def _draws(
    sample: Sample, stratum: str, count: int, replicates: int
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Blocks of replicates: where they belong, and the units drawn, (block, count)."""
    stream = DrawStream(RULE, sample.fingerprint, stratum)
    step = max(1, _DRAWN_AT_A_TIME // count)
    for start in range(0, replicates, step):
        stop = min(replicates, start + step)
        yield slice(start, stop), stream.with_replacement(stop - start, count)


class _UnitTable:
    """Rows of a stratum, sorted by unit, so that many units can be looked up at once."""

    def __init__(self, units: StratumUnits) -> None:
        self._rows = units.rows[np.argsort(units.unit, kind="stable")]
        self._sizes = np.bincount(units.unit, minlength=units.count)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def rows_of_draws(self, drawn: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
        """Rows of several draws of units, (draws, units)."""
        if (self._sizes == 1).all():
            return list(self._rows[drawn])
        return [self.rows_of(one) for one in drawn]

    def rows_of(self, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the drawn units, one unit after the other."""
        sizes = self._sizes[drawn]
        ends = np.cumsum(sizes)
        offsets = np.repeat(self._starts[drawn] - (ends - sizes), sizes)
        return self._rows[offsets + np.arange(ends[-1])]


def _check_values(values: NDArray[np.float64], sample: Sample) -> None:
    if values.shape != (len(sample.strata),) or len(values) == 0:
        raise MetricError(
            f"{len(sample.strata)} images need as many scores (at least one), got an array of "
            f"shape {values.shape}."
        )
    broken = int((~np.isfinite(values)).sum())
    if broken:
        raise MetricError(
            f"{broken} of {len(values)} scores are not finite. Leave failed images out of both "
            "the scores and the sample, and mark the cell as partial."
        )
