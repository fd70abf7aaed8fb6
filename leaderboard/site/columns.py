"""A metric as a column: its title, direction and definition, and its name in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...harness.record import Record
from ...harness.tables import Column
from ...harness.vocabulary import METRICS


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A metric as a column of a table."""

    metric: str
    setting: str
    title: str
    unit: str
    direction: str
    ranked: bool
    definition: str
    """Id and hash, as texts print it."""

    @property
    def key(self) -> str:
        """`psnr`, or `map--mean-lp-val` with a setting: fit for ids and addresses."""
        return column_key(self.metric, self.setting)

    @property
    def arrow(self) -> str:
        """The direction that is better, in words."""
        return {"higher": "higher is better", "lower": "lower is better"}.get(self.direction, "")


def column_key(metric: str, setting: str) -> str:
    """What scripts and addresses call a metric in a setting."""
    return f"{metric}--{re.sub(r'[^A-Za-z0-9]+', '-', setting).strip('-')}" if setting else metric


def column_view(column: Column, records: Iterable[Record]) -> ColumnView:
    """How a column is titled, and which definition its values have."""
    facts = METRICS[column.metric]
    found = next(
        (m for r in records if (m := column.overall(r)) is not None and not m.reason), None
    )
    return ColumnView(
        metric=column.metric,
        setting=column.setting,
        title=f"{facts.title}, {column.setting}" if column.setting else facts.title,
        unit=facts.unit,
        direction=column.direction,
        ranked=facts.ranked,
        definition=f"{found.definition} {found.definition_hash}" if found else "",
    )
