"""Whether metrics, or tasks, put tokenizers in the same order: Spearman's rank correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .catalogue import Catalogue, main_table
from .heat import SHADES
from .tasks import task_text
from .views import Table

_FEWEST = 4
"""With three rows one exchange moves the correlation from 1 to 0.5."""

Orders = Mapping[str, Mapping[str, float]]
"""By metric or task: a value for each tokenizer, of which larger ones are better."""


@dataclass(frozen=True, slots=True)
class AgreementCell:
    """One correlation, and its shade."""

    text: str
    note: str
    shade: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Correlations of all pairs; each row has the cells of the columns before it."""

    names: tuple[str, ...]
    rows: tuple[tuple[AgreementCell, ...], ...]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation in [-1, 1], tied values sharing their mean rank; None where one is constant.

    Spearman, The proof and measurement of association between two things, 1904.
    """
    ranks = [_mean_ranks(np.asarray(values, dtype=float)) for values in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    spread = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / spread) if spread > 0 else None


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def metric_agreement(table: Table) -> Agreement | None:
    """Between the metrics of a table that have a better direction, over its ranked rows."""
    orders = {}
    for index, column in enumerate(table.columns):
        if column.direction == "none":
            continue
        sign = -1.0 if column.direction == "lower" else 1.0
        cells = ((row.name, row.cells[index].value) for row in table.ranked)
        orders[column.title] = {name: sign * v for name, v in cells if v is not None}
    return _agreement(orders)


def task_agreement(catalogue: Catalogue) -> Agreement | None:
    """Between tasks, each by the primary metric of the board that the overview shows."""
    orders = {}
    for task in catalogue.tasks:
        table = main_table(catalogue.of_task(task)[0])
        column = table.primary
        if column is not None and column.direction != "none":
            sign = -1.0 if column.direction == "lower" else 1.0
            cells = ((row.name, row.cells[0].value) for row in table.ranked)
            values = {name: sign * v for name, v in cells if v is not None}
            orders[f"{task_text(task).title}: {column.title}"] = values
    return _agreement(orders)


def _agreement(orders: Orders) -> Agreement | None:
    """None where no pair has enough tokenizers in common."""
    names = tuple(orders)
    rows = tuple(
        tuple(_cell(orders[name], orders[other]) for other in names[:index])
        for index, name in enumerate(names)
    )
    return Agreement(names, rows) if any(cell.shade for row in rows for cell in row) else None


def _cell(a: Mapping[str, float], b: Mapping[str, float]) -> AgreementCell:
    common = [name for name in a if name in b]
    count = f"{len(common)} tokenizers with both"
    if len(common) < _FEWEST:
        return AgreementCell("–", f"{count}; at least {_FEWEST} are needed", "")
    found = spearman([a[name] for name in common], [b[name] for name in common])
    if found is None:
        return AgreementCell("–", f"{count}, all equal in one", "")
    shade = f"h{round((1 - found) / 2 * (SHADES - 1))}"
    return AgreementCell(f"{found:.2f}".replace("-", "−"), count, shade)
