"""One cell: cached features of all parts, every way to probe in every group, values collected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...harness import package_version, ranks
from ...harness.errors import MetricError
from ...harness.probing.feature_cache import FeatureSource, cached_features
from ...harness.statistics.bootstrap import Sample
from ...harness.statistics.intervals import Interval
from .definitions import (
    CURVE_METRICS,
    FRACTIONS,
    KNN,
    LARGE,
    PAPER,
    PAPER_METRICS,
    PAPER_SEEDS,
    Setting,
    settings,
)
from .groups import Group, make_group
from .protocols import Peaks, Probed, lp_paper, lp_val, nearest, rows_of, with_part_of_labels
from .report import Report
from .scoring import Scored, intervals_of
from .splits import PARTS, Split, split_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...harness.array_cache import Kept
    from ...harness.probing.features import FeatureKind, KindsFound
    from ...harness.task import Cell

logger = logging.getLogger(__name__)

STAGE = 1
"""Bumped by hand when features of the same weights change."""

_Values = dict[str, Interval | str] | str
"""By metric, or why there are none."""

FoundValues = dict[tuple[str, str], dict[str, Interval | str]]
"""Group -> value, by setting and metric."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The shown scores of one group's test images.

    Attributes:
        group: images and classes.
        setting: the main one, or the first that the tokenizer has.
        scores: float64 (N, C), log-probabilities.
        penalty: that validation chose.
    """

    group: Group
    setting: str
    scores: NDArray[np.float64]
    penalty: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What the probes of one cell found."""

    report: Report
    answers: list[Answers]
    warnings: list[str]
    encode_seconds: float
    """Of the scored images."""


def one_image(cell: Cell) -> torch.Tensor:
    """The first image of the cell, float32 (1, 3, H, H) in [0, 1]."""
    pixels = torch.from_numpy(cell.store.read(0, 1))
    return pixels.permute(0, 3, 1, 2).to(cell.device).float().div_(255.0).contiguous()


def measure(cell: Cell, kinds: KindsFound) -> Measured:
    """Every setting that the tokenizer has features for.

    Raises:
        MetricError: no group can be probed; says why for each.
        UsageError: no labels, or a cache that cannot be written.
        CellFailed: features that are not finite.
    """
    stores = {"test": cell.store, **{name: part.store for name, part in cell.parts.items()}}
    split = split_images(stores)
    groups, problems = _groups(cell, split)
    source = _source(cell)
    features = {
        name: cached_features(source, store, kinds.present) for name, store in stores.items()
    }
    values, answers = _probe_all(cell, groups, problems, features, kinds)
    report = Report(cell.plan, cell.definitions)
    for (setting, metric), found in values.items():
        report.add(setting, metric, {name: found[name] for name in cell.plan.groups})
    _say_absent(report, kinds)
    seconds = features["test"][kinds.present[0]].seconds
    return Measured(report, answers, split.warnings, seconds)


def _groups(cell: Cell, split: Split) -> tuple[list[Group], dict[str, str]]:
    multi_label = bool(getattr(cell.dataset, "multi_label", False))
    groups, problems = [], {}
    for name in cell.plan.groups:
        try:
            groups.append(make_group(name, split.parts, multi_label=multi_label))
        except MetricError as error:
            problems[name] = str(error)
    if not groups:
        raise MetricError(f"{cell.plan.dataset_id}: no probe. " + " ".join(problems.values()))
    return groups, problems


def _source(cell: Cell) -> FeatureSource:
    identity = cell.identity
    facts = {
        "medbench": package_version(),
        "stage": STAGE,
        "weights": identity.weights_sha256 if identity else None,
        "config": identity.config_sha256 if identity else None,
        "precision": identity.precision if identity else None,
    }
    return FeatureSource(cell.tokenizer, facts, cell.batch, cell.device)


def _kind_of(features: str, kinds: KindsFound) -> FeatureKind | None:
    """The tokenizer's own kind for what a setting reads; None where it has none."""
    wanted = ("flat", "flat-p") if features == "grid" else (features,)
    return next((kind for kind in kinds.present if kind in wanted), None)


def _probe_all(
    cell: Cell,
    groups: list[Group],
    problems: Mapping[str, str],
    features: Mapping[str, Mapping[FeatureKind, Kept]],
    kinds: KindsFound,
) -> tuple[FoundValues, list[Answers]]:
    asked: list[tuple[Group, Setting, FeatureKind]] = [
        (group, setting, kind)
        for group in groups
        for setting in settings().values()
        if (kind := _kind_of(setting.features, kinds)) is not None
    ]

    def probe(one: tuple[Group, Setting, FeatureKind]) -> tuple[_Values, Answers | None]:
        group, setting, kind = one
        rows = {part: features[group.parts[part].store][kind].rows for part in PARTS}
        own = {part: rows_of(rows[part], group.parts[part]) for part in PARTS}
        probing = _Probing(cell, Probed(group, own))
        return probing.values(setting.name), probing.answers

    label = f"probes of {cell.tokenizer.info.full_name}"
    values: FoundValues = {}
    answers: dict[str, Answers] = {}
    results = ranks.dealt(asked, probe, label=label)
    for (group, setting, _), (found, shown) in zip(asked, results, strict=True):
        if shown is not None:
            answers.setdefault(group.name, shown)
        for metric in setting.metrics:
            values.setdefault((setting.name, metric), dict(problems))[group.name] = (
                found if isinstance(found, str) else found[metric]
            )
    return values, list(answers.values())


class _Probing:
    """All that one group with one kind of features is asked."""

    def __init__(self, cell: Cell, probed: Probed) -> None:
        self._cell, self._probed, self._group = cell, probed, probed.group
        self.answers: Answers | None = None
        test = self._group.parts["test"]
        strata = [f"{self._group.name}/{stratum}" for stratum in self._group.strata("test")]
        self._sample = Sample(cell.store.fingerprint, strata, test.patients.tolist())

    def values(self, setting: str) -> _Values:
        """Values by metric, or why there are none."""
        ways: dict[str, Callable[[], dict[str, Interval | str]]] = {
            KNN: self._nearest,
            PAPER: self._paper,
            **dict.fromkeys(FRACTIONS, lambda: self._curve(setting)),
        }
        try:
            return ways.get(setting, lambda: self._main(setting))()
        except MetricError as error:
            return f"{self._group.name}: {error}"

    def _intervals(self, several: list[Scored], setting: str) -> dict[str, Interval | str]:
        return intervals_of(settings()[setting].metrics, several, self._sample)

    def _main(self, setting: str) -> dict[str, Interval | str]:
        choice = lp_val(self._probed)
        self.answers = Answers(self._group, setting, choice.scores, choice.penalty)
        return self._intervals([Scored(self._group.truth["test"], choice.scores)], setting)

    def _nearest(self) -> dict[str, Interval | str]:
        scored = Scored(self._group.truth["test"], nearest(self._probed))
        return self._intervals([scored], KNN)

    def _curve(self, setting: str) -> dict[str, Interval | str]:
        fingerprint = self._train_fingerprint()
        return self._intervals(with_part_of_labels(self._probed, setting, fingerprint), setting)

    def _train_fingerprint(self) -> str:
        part = self._cell.parts.get("train")
        return (part.store if part else self._cell.store).fingerprint

    def _paper(self) -> dict[str, Interval | str]:
        small = len(self._group.parts["train"].rows) <= LARGE
        runs = PAPER_SEEDS if small and len(self._cell.plan.groups) == 1 else 1
        peaks: Peaks = lp_paper(
            self._probed,
            dataset_id=self._cell.plan.dataset_id,
            seeds=range(self._cell.seed, self._cell.seed + runs),
        )
        return {
            metric: Interval(peaks.values[metric], None, None, peaks.pool, peaks.pool, np.empty(0))
            for metric in PAPER_METRICS
        }


def _say_absent(report: Report, kinds: KindsFound) -> None:
    """Settings for which the tokenizer has no features, each with the reason."""
    for setting in settings().values():
        if _kind_of(setting.features, kinds) is None:
            wanted = "flat" if setting.features == "grid" else setting.features
            for metric in CURVE_METRICS:
                report.absent(setting.name, metric, kinds.absent[wanted])
