"""The ledger: every printed cell of a paper's tables, with what is odd about it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ...harness.errors import UsageError

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper, its tables in words, and what does not fit in it as a whole."""

    id: str
    title: str
    cite: str
    url: str
    tables: Mapping[str, str]
    findings: Sequence[str]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One printed cell.

    Attributes:
        paper: id of the paper.
        table: `reconstruction`, `classification`, `synthesis`, `vqa`, `ablation 5`, `ablation S1`.
        row: number of an ablation's row, else empty.
        method: the paper's name of the tokenizer or training.
        downsample: pixels per latent cell along one side; None where the paper does not say.
        place: modality or data set, in the paper's words; `AVG` for its mean.
        metric: in the paper's words.
        value: as printed (SSIM, mAP, AUC and accuracy times 100).
        spread: what the paper prints behind ±; its meaning is not stated.
        note: what does not fit, or empty.
    """

    paper: str
    table: str
    row: str
    method: str
    downsample: int | None
    place: str
    metric: str
    value: float
    spread: float | None
    note: str


@cache
def papers() -> Mapping[str, Paper]:
    """The papers of the ledger by id."""
    found = [
        Paper(**yaml.safe_load(path.read_text(encoding="utf-8")))
        for path in sorted(_FOLDER.glob("*.yaml"))
    ]
    return {paper.id: paper for paper in found}


@cache
def ledger(paper: str = "meditok-paper") -> tuple[LedgerRow, ...]:
    """Every printed cell of a paper, in the order of its tables.

    Raises:
        UsageError: there is no such paper in the ledger.
    """
    if paper not in papers():
        message = f"no paper {paper!r} in the ledger; known: {', '.join(papers())}"
        raise UsageError(message)
    path = _FOLDER / f"{paper.replace('-', '_')}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(paper, cells) for cells in csv.DictReader(file))


def _row(paper: str, cells: dict[str, str]) -> LedgerRow:
    return LedgerRow(
        paper=paper,
        table=cells["table"],
        row=cells["row"],
        method=cells["method"],
        downsample=int(cells["downsample"]) if cells["downsample"] else None,
        place=cells["place"],
        metric=cells["metric"],
        value=float(cells["value"]),
        spread=float(cells["spread"]) if cells["spread"] else None,
        note=cells["note"],
    )
