"""What many pages ask of one record, found once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...harness.record import Record
from ...harness.tables import bits_per_pixel
from ...harness.vocabulary import MODALITIES
from ..trust import Mark, Marks, trust_mark
from .cells import Values, values_of
from .names import run_name


@dataclass(frozen=True, slots=True)
class Sheet:
    """A record with its page's name, its mark and its values as tables show them."""

    record: Record
    run: str
    mark: Mark
    values: Values

    @property
    def bits_per_pixel(self) -> float | None:
        """Measured (codecs) or nominal bits per pixel; None for bounds."""
        return bits_per_pixel(self.record)

    def groups(self, columns: Sequence[tuple[str, str]]) -> list[str]:
        """Groups that have a value of one of the columns (metric, setting), see `in_order`."""
        shown = set(columns)
        return in_order(
            group
            for (metric, setting, group), value in self.values.items()
            if (metric, setting) in shown and value.value is not None
        )


Sheets = Mapping[str, Sheet]
"""By the name of the record's page."""


def sheet_of(record: Record, marks: Marks) -> Sheet:
    """Read a record once for all pages."""
    return Sheet(record, run_name(record), trust_mark(record, marks), values_of(record))


def in_order(groups: Iterable[str]) -> list[str]:
    """Modalities first, in the vocabulary's order, then the other groups by name; others out."""
    found = set(groups)
    return [*(m for m in MODALITIES if m in found), *sorted(g for g in found if ":" in g)]
