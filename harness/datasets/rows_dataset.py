"""The rows of a table as a dataset: all of them, or those of one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .card import Card
from .dataset import Item, pick_per_group
from .parts import written_part
from .rows import Row


@dataclass(frozen=True, slots=True)
class RowsDataset:
    """The rows of one table (of one split, where a split is asked for)."""

    id: str
    table: Path
    checked: tuple[Row, ...]
    card: Card
    split: str = "all"
    whole: tuple[Row, ...] = ()
    """The rows of all splits."""

    @property
    def rows(self) -> list[dict[str, str | None]]:
        """Id and split of each row, as the table says."""
        return [{"id": row.id, "split": row.split} for row in self.checked]

    def part(self, name: str) -> RowsDataset:
        """The rows whose `split` is that part, as `train`, `training` and so on.

        Raises:
            UsageError: no row is of that part; says which there are.
        """
        known = {row.split for row in self.whole if row.split is not None}
        word = written_part(name, known, where=str(self.table))
        return rows_dataset(self.id, self.table, self.whole, split=word)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Rows in the table's order."""
        return pick_per_group([row.item() for row in self.checked], limit)


def rows_dataset(reference: str, table: Path, rows: Sequence[Row], *, split: str) -> RowsDataset:
    """The dataset of a table's rows, or of those of one split.

    Raises:
        UsageError: no row, none of that split, or none that can be used.
    """
    if not rows:
        message = f"{table}: no rows"
        raise UsageError(message)
    chosen = [row for row in rows if row.split == split] if split else list(rows)
    if not chosen:
        splits = sorted({str(row.split) for row in rows})
        message = f"{reference}: no row has split {split!r}; found: {', '.join(splits)}"
        raise UsageError(message)
    bad = [row.problem for row in chosen if row.problem is not None]
    if len(bad) == len(chosen):
        message = f"none of the {len(bad)} rows can be used: {'; '.join(bad[:3])}"
        raise UsageError(message)
    good = [row for row in chosen if row.problem is None]
    name = f"{reference.partition(':')[0].partition('@')[0]}{'@' + split if split else ''}"
    card = Card.model_validate(
        {
            "id": f"{name}:{table.name}",
            "title": f"Images listed in {table.name}",
            "source": "a table on this machine",
            "licence": "unknown",
            "modalities": sorted({row.group for row in good}),
            "splits": {split or "all": len(chosen)},
            "layout": "verified (fields checked)",
            "patient_key": "patient" if any(row.patient for row in good) else None,
            "how_to_get": "the user's own files",
            "known_problems": [f"{len(bad)} rows cannot be used, first: {bad[0]}"] if bad else [],
        }
    )
    return RowsDataset(card.id, table, tuple(chosen), card, split or "all", tuple(rows))
