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


def rank_ranges(
    records: Sequence[Record], metric: str, setting: str = ""
) -> list[RankRange | None]:
    """The rank range of each record on a macro metric (pooled, of one group); None: not ranked.

    The replicates of all records come from the same draws, so that ranks are paired; records
    that do not take part, without replicates, or with another number of them, have no rank.
    """
    drawn = [_replicates(record, metric, setting) for record in records]
    length = max(map(len, drawn), default=0)
    ranked = [place for place, values in enumerate(drawn) if values and len(values) == length]
    ranges: list[RankRange | None] = [None] * len(records)
    if not ranked:
        return ranges
    values = np.array([drawn[place] for place in ranked])
    if METRICS[metric].direction == "higher":
        values = -values
    low, high = np.percentile(_ranks(values), [2.5, 97.5], axis=1, method="nearest")
    for place, best, worst in zip(ranked, low, high, strict=True):
        ranges[place] = RankRange(int(best), int(worst))
    return ranges


def _replicates(record: Record, metric: str, setting: str) -> Sequence[float]:
    """The resamples that place a record; none where it does not take part."""
    found = _overall(record, metric, setting) if takes_part(record) else None
    return (found.replicates or ()) if found is not None else ()


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
