"""Rank ranges: which ranks a tokenizer may hold, from the common resamples of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..harness.record import Metric, Record
from ..harness.vocabulary import MACRO, METRICS, POOLED

RANKED_KINDS = frozenset({"discrete", "continuous"})


@dataclass(frozen=True, slots=True)
class RankRange:
    """Best and worst rank, 1-based, inside which 95 % of the resamples fall."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def takes_part(record: Record) -> bool:
    """Bounds, codecs, rows that are not `ok`, and unpinned weights are shown but not ranked."""
    lifted = record.status == "suspect" and record.status_lifted is not None
    fine = record.status == "ok" or lifted
    return record.info.kind in RANKED_KINDS and fine and not unpinned(record)


def unpinned(record: Record) -> bool:
    """Whether no hash says which weights a tokenizer had, so that nobody could run it again."""
    return record.info.kind in RANKED_KINDS and record.info.weights_sha256 is None


def unpinned_notes(records: Iterable[Record]) -> list[str]:
    """Why each tokenizer without pinned weights has no rank."""
    return [
        f"{record.full_name}: not ranked, because no hash says which weights it had"
        for record in records
        if unpinned(record)
    ]


def _overall(record: Record, metric: str, setting: str) -> Metric | None:
    macro = record.metric(metric, MACRO, setting)
    return macro if macro is not None else record.metric(metric, POOLED, setting)


def rank_ranges(records: Sequence[Record], metric: str, setting: str = "") -> dict[str, RankRange]:
    """Full name -> rank range on a macro metric (pooled, of one group), for those that take part.

    The replicates of all records come from the same draws, so that ranks are paired; records
    without replicates, or with another number of them, are left out.
    """
    candidates = {
        record.full_name: found.replicates
        for record in records
        if takes_part(record)
        and (found := _overall(record, metric, setting)) is not None
        and found.replicates
    }
    if not candidates:
        return {}
    length = max(len(values) for values in candidates.values())
    names = [name for name, values in candidates.items() if len(values) == length]
    values = np.array([candidates[name] for name in names])
    if METRICS[metric].direction == "higher":
        values = -values
    ranks = _ranks(values)
    low, high = np.percentile(ranks, [2.5, 97.5], axis=1, method="nearest")
    return {
        name: RankRange(int(best), int(worst))
        for name, best, worst in zip(names, low, high, strict=True)
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each row in every column: 1 + how many are strictly smaller, so that ties share."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    places = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    new = np.vstack([np.ones((1, values.shape[1]), bool), ordered[1:] > ordered[:-1]])
    first = np.maximum.accumulate(np.where(new, places, 0), axis=0)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, first + 1, axis=0)
    return ranks
