"""Tests of a mean paired difference: units, their standard error, sign flips, resamples.

A unit is an image, or a patient or volume with all its images. Within a stratum the mean over
images is a ratio (sum over units by number of images), so its variance is that of the units'
residuals; strata are independent. Degrees of freedom are Satterthwaite's.

Source: Cochran, "Sampling techniques", 1977, sections 5.4, 5A.12 and 6.3 (strata, collapsed
strata, ratios); Satterthwaite,
"An approximate distribution of estimates of variance components", Biometrics 2, 1946; Ernst,
"Permutation methods: a basis for exact inference", Statistical Science 19, 2004 (sign flips);
Davison, Hinkley, "Bootstrap methods and their application", 1997, section 4.2 (p from resamples).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..vocabulary import MACRO, POOLED
from .draws import DrawStream
from .intervals import CONFIDENCE, Z_95

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .bootstrap import Sample, StratumUnits

FLIPS = 9999
FLIP_RULE = "sign-flips-1"
_EXACT_UNITS = 13
"""Up to here all sign patterns (at most 8,192) are gone through instead of drawn."""
_FLIPPED_AT_A_TIME = 1 << 22
_TIE = 1e-12
"""Relative; flipped sums this near to the observed one count as equal to it."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedMean:
    """A mean difference and how well it is known.

    Attributes:
        value: the mean, over images or over strata.
        standard_error: of the value; None for a single unit.
        degrees: of freedom of the standard error.
        contributions: float64 (units,); what each unit adds to the value.
    """

    value: float
    standard_error: float | None
    degrees: float
    contributions: NDArray[np.float64]


def paired_means(differences: NDArray[np.float64], sample: Sample) -> dict[str, PairedMean]:
    """The mean difference of each stratum, of ``all`` images, and over strata (``macro``).

    Args:
        differences: (N,), first minus second score of each image, in the order of `sample`.
        sample: strata and clusters of the images.

    Raises:
        MetricError: wrong number of differences, none, or some that are not finite.
    """
    differences = np.asarray(differences, dtype=np.float64)
    wrong = differences.shape != (len(sample.strata),) or len(differences) == 0
    if wrong or not np.isfinite(differences).all():
        raise MetricError(
            f"{len(sample.strata)} images need as many finite differences (at least one), got "
            f"shape {differences.shape} with {int((~np.isfinite(differences)).sum())} not finite."
        )
    parts = {
        name: _stratum(differences[units.rows], units) for name, units in sample.units().items()
    }
    weights = {
        **{name: {name: 1.0} for name in parts},
        POOLED: {name: part.images / len(differences) for name, part in parts.items()},
        MACRO: {name: 1 / len(parts) for name in parts},
    }
    return {group: _combined(parts, chosen) for group, chosen in weights.items()}


def _combined(parts: Mapping[str, _Part], weights: Mapping[str, float]) -> PairedMean:
    chosen = [(parts[name], weight) for name, weight in weights.items()]
    value = math.fsum(weight * part.value for part, weight in chosen)
    contributions = np.concatenate([weight * part.contributions for part, weight in chosen])
    if len(contributions) < 2:
        return PairedMean(value, None, math.inf, contributions)
    if any(part.units < 2 for part, _ in chosen):
        shares = np.concatenate([weight * part.shares for part, weight in chosen])
        return _collapsed(value, contributions, shares)
    variances = [weight**2 * part.variance for part, weight in chosen]
    total = math.fsum(variances)
    spread = sum(v**2 / (part.units - 1) for v, (part, _) in zip(variances, chosen, strict=True))
    degrees = total**2 / spread if spread > 0 else math.inf
    return PairedMean(value, math.sqrt(total), degrees, contributions)


def _collapsed(
    value: float, contributions: NDArray[np.float64], shares: NDArray[np.float64]
) -> PairedMean:
    """All strata as one, where one of them has a single unit.

    The error is too large rather than too small: the differences between strata are in it.
    """
    residuals = contributions - shares * value
    count = len(contributions)
    variance = count / (count - 1) * float(residuals @ residuals)
    return PairedMean(value, math.sqrt(variance), count - 1, contributions)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    value: float
    variance: float
    """Of the value; 0 for one unit, from which it cannot be known."""
    units: int
    images: int
    contributions: NDArray[np.float64]
    shares: NDArray[np.float64]
    """Of the images, by unit."""


def _stratum(differences: NDArray[np.float64], units: StratumUnits) -> _Part:
    sums = np.bincount(units.unit, weights=differences, minlength=units.count)
    sizes = np.bincount(units.unit, minlength=units.count)
    count, images = units.count, len(differences)
    mean = float(differences.mean())
    residuals = sums - mean * sizes
    variance = count / max(count - 1, 1) * float(residuals @ residuals) / images**2
    return _Part(mean, variance, count, images, sums / images, sizes / images)


def sign_flip_p(contributions: NDArray[np.float64], *, fingerprint: str) -> float:
    """Two-sided p of "differences are as likely up as down", by flipping the signs of units.

    All patterns for up to 13 units, else 9,999 random ones that `fingerprint` selects, the
    observed one added. Units without a difference say nothing; none with one: p = 1.
    """
    units = contributions[contributions != 0]
    if len(units) == 0:
        return 1.0
    limit = abs(float(contributions.sum())) * (1 - _TIE)
    if len(units) <= _EXACT_UNITS:
        patterns = np.arange(1 << len(units))[:, None] >> np.arange(len(units)) & 1
        sums = (1 - 2 * patterns) @ units
        return float((np.abs(sums) >= limit).mean())
    stream = DrawStream(FLIP_RULE, fingerprint, "signs")
    extreme, step = 0, max(1, _FLIPPED_AT_A_TIME // len(units))
    for start in range(0, FLIPS, step):
        rows = min(step, FLIPS - start)
        signs = np.where(stream.uniform(rows, len(units)) < 0.5, -1.0, 1.0)
        extreme += int((np.abs(signs @ units) >= limit).sum())
    return (1 + extreme) / (1 + FLIPS)


def bootstrap_p(replicates: NDArray[np.float64]) -> float:
    """Two-sided p of "the difference is zero" from resampled differences (R,).

    Twice the share of resamples on the smaller side of zero, the observed value counted in, so
    that it never is below 2 / (R + 1).
    """
    below, above = int((replicates <= 0).sum()), int((replicates >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(replicates)))


def t_quantile(degrees: float) -> float:
    """The 97.5 % point of Student's t: half-width of a 95 % interval in standard errors."""
    if math.isinf(degrees):
        return Z_95
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def upper_tail(statistic: float, degrees: float) -> float:
    """P(T >= statistic) of Student's t, of the normal distribution for infinite `degrees`."""
    if math.isinf(degrees):
        return 0.5 * math.erfc(statistic / math.sqrt(2))
    from scipy.special import stdtr

    return float(stdtr(degrees, -statistic))
