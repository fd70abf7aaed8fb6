"""The sanity gate once more, from records: does a system beat the trivial bounds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..harness.record import Record
from ..harness.vocabulary import METRICS

BOUNDS = ("mean", "down16")
_COMPARED = ("psnr", "ms_ssim")


@dataclass(frozen=True, slots=True)
class Sanity:
    """What the bounds say of a record."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_sanity(record: Record, known: Sequence[Record]) -> Sanity:
    """Compare a reconstruction record with the bounds' records on the same images.

    A record that does not beat them and does not call itself `suspect` is a problem. Systems that
    see only brightness are judged on brightness when they are measured; records hold no such
    values, so that this is not repeated for them.
    """
    found = Sanity()
    learned = record.info.kind in ("discrete", "continuous")
    if record.task != "recon" or not learned or record.status not in ("ok", "partial"):
        return found
    if record.info.colour == "luma":
        found.notes.append("sanity gate not repeated: judged on brightness, which only a run can")
        return found
    for bound in BOUNDS:
        other = next((r for r in known if r.tokenizer == bound and _same_images(r, record)), None)
        if other is None:
            found.notes.append(f"sanity gate not repeated: no record of {bound} on these images")
            continue
        for metric in _COMPARED:
            own, theirs = (_mean(each, record, metric) for each in (record, other))
            if own is not None and theirs is not None and not own > theirs:
                found.problems.append(
                    f"{METRICS[metric].title} {own:.4g} does not beat the trivial bound {bound} "
                    f"({theirs:.4g}), and the record does not say `suspect`"
                )
    return found


def _same_images(a: Record, b: Record) -> bool:
    return a.task == b.task and a.dataset.fingerprint == b.dataset.fingerprint


def _mean(record: Record, judged: Record, metric: str) -> float | None:
    """Over the modalities that the judged system declares (none declared: all)."""
    declared = judged.info.modalities
    groups = [g for g in judged.dataset.groups if not declared or g in declared]
    found = [record.metric(metric, group) for group in groups]
    values = [m.value for m in found if m is not None and m.value is not None]
    return float(np.mean(values)) if values and len(values) == len(groups) else None
