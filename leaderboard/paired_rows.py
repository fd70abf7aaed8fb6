"""Per-image rows of two records, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..harness.statistics.bootstrap import Sample
from ..harness.statistics.paired import PairedMean, paired_means
from ..harness.statistics.proportions import mcnemar_p
from ..harness.vocabulary import FACET, POOLED

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..harness.record_files import Stored
    from ..harness.tables import Column


@dataclass(frozen=True, slots=True, eq=False)
class PairedScores:
    """Scores of the same images by two systems, in the stored order.

    Attributes:
        ids: of the images.
        sample: their groups and clusters.
        first: float64 (N,).
        second: float64 (N,).
        means: the mean differences by group.
    """

    ids: NDArray[np.object_]
    sample: Sample
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    means: dict[str, PairedMean]

    @property
    def differences(self) -> NDArray[np.float64]:
        """First minus second."""
        return self.first - self.second

    @property
    def size(self) -> float:
        """The largest absolute score."""
        return float(max(np.abs(self.first).max(), np.abs(self.second).max()))

    def mcnemar_p(self, group: str) -> float | None:
        """McNemar's p of a group whose scores are right (1) or wrong (0); None of others."""
        if any(((side != 0) & (side != 1)).any() for side in (self.first, self.second)):
            return None
        chosen = np.array([group in (POOLED, name) for name in self.sample.strata])
        if not chosen.any():
            return None
        first, second = self.first[chosen], self.second[chosen]
        return mcnemar_p(int((first > second).sum()), int((second > first).sum()))


@dataclass(slots=True)
class PairedRows:
    """The rows of two records on the same images; made by `paired_rows`."""

    fingerprint: str
    task: str
    tables: tuple[pd.DataFrame, pd.DataFrame]
    _known: dict[tuple[Column, str], PairedScores | None] = field(default_factory=dict)

    def scores(self, column: Column, group: str = POOLED) -> PairedScores | None:
        """The scores behind one metric of a group; None where a side has no such numbers.

        Modalities are strata of the same scores; a facet (`topic:…`) has its own rows alone.
        """
        facet = group if FACET.fullmatch(group) else ""
        if (column, facet) not in self._known:
            self._known[column, facet] = self._read(column, facet)
        return self._known[column, facet]

    def _read(self, column: Column, facet: str) -> PairedScores | None:
        one, _ = self.tables
        first, second = (scores_of(self.task, table, column) for table in self.tables)
        if first is None or second is None:
            return None
        # A question of the other kind has no score in this column.
        kept = np.isfinite(first) & np.isfinite(second)
        if (np.isfinite(first) != np.isfinite(second)).any():
            return None
        if facet:
            kept &= rows_of_facet(one, facet)
        if not kept.any():
            return None
        strata = [facet] * int(kept.sum()) if facet else texts(one, "group", kept)
        sample = Sample(self.fingerprint, strata, clusters(one, kept))
        means = paired_means(first[kept] - second[kept], sample)
        ids = one["id"].to_numpy(object)[kept]
        return PairedScores(ids, sample, first[kept], second[kept], means)


def paired_rows(first: Stored, second: Stored) -> PairedRows | None:
    """The rows of two records; None where a side has none, or they are of other images."""
    one, two = first.rows(), second.rows()
    if one is None or two is None or not {"id", "group"} <= set(one):
        return None
    for column in ("id", "sha256"):
        both = column in one and column in two
        # An absent image has no hash on either side, which counts as the same.
        if both and not one[column].equals(two[column]):
            return None
    if "id" not in two:
        return None
    return PairedRows(first.record.dataset.fingerprint, first.record.task, (one, two))


_COLUMNS = {
    ("vqa", "overall"): ("correct", None),
    ("vqa", "closed_accuracy"): ("correct", "closed"),
    ("vqa", "open_exact"): ("correct", "open"),
    ("vqa", "open_recall"): ("recall", "open"),
    ("vqa", "open_f1"): ("f1", "open"),
    ("probe", "acc"): ("correct", None),
}
"""Columns that have another name than the metric that is their mean, and the `kind` of its rows."""


def scores_of(task: str, table: pd.DataFrame, column: Column) -> NDArray[np.float64] | None:
    """The score of each row behind a metric, NaN for other rows; None: no column.

    A setting has rows of its own (a column `setting`), or a column of its own, such as
    `correct (t=0.2)`.
    """
    name, kind = _COLUMNS.get((task, column.metric), (column.metric, None))
    rows_by_setting = "setting" in table
    if column.setting and not rows_by_setting:
        name = f"{name} ({column.setting})"
    if name not in table or table[name].dtype.kind not in "fiub":
        return None
    scores = table[name].to_numpy(np.float64)
    if kind is not None:
        scores = np.where(np.array(texts(table, "kind")) == kind, scores, np.nan)
    if rows_by_setting:
        scores = np.where(table["setting"].to_numpy() == column.setting, scores, np.nan)
    return scores


def rows_of_facet(table: pd.DataFrame, facet: str) -> NDArray[np.bool_]:
    """Which rows belong to a facet such as `language:zh`; none where the table does not say.

    A row of several topics (`ATTRIB, PRES`) belongs to each of them.
    """
    kind, _, name = facet.partition(":")
    parts = [text.split(",") if kind == "topic" else [text] for text in texts(table, kind)]
    return np.array([name in [part.strip() for part in each] for each in parts], dtype=bool)


def clusters(table: pd.DataFrame, kept: NDArray[np.bool_]) -> list[str]:
    """What hangs together: a patient's images or, without patients, the questions of one image."""
    return texts(table, "patient" if "patient" in table else "image", kept)


def texts(table: pd.DataFrame, column: str, kept: NDArray[np.bool_] | None = None) -> list[str]:
    """A column of the kept rows, or of all, as texts; empty where it is absent or has no text."""
    chosen = slice(None) if kept is None else kept
    if column not in table:
        return [""] * len(table.index[chosen])
    held = table[column].to_numpy(object)[chosen]
    return [text if isinstance(text, str) else "" for text in held]
