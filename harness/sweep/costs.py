"""What cells take: as their like took here, else by a table that comes along."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from .attempt import Attempt
from .cells import SweepCell

_CATALOGUE = "medbench.tasks.catalogue"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one cell.

    Attributes:
        seconds: wall clock.
        bytes_kept: by its record, rows and gallery.
    """

    seconds: float
    bytes_kept: int


class Costs:
    """What finished cells took.

    Args:
        cells: all of the sweep.
        done: finished attempts by cell.
        output: results directory, where their records lie.
    """

    def __init__(
        self, cells: Sequence[SweepCell], done: Mapping[str, Attempt], output: Path
    ) -> None:
        self._found: dict[tuple, list[Cost]] = {}
        for cell in cells:
            if cell.key in done:
                last = done[cell.key]
                cost = Cost(last.seconds, _bytes_beside(output / last.record))
                for kind in (_like(cell), _like_by(cell)):
                    self._found.setdefault(kind, []).append(cost)

    def of(self, cell: SweepCell) -> Cost | None:
        """The median of cells of the same task, data set, limit and options.

        Of the same tokenizer (with another seed) where there are such; None where there are none.
        """
        found = self._found.get(_like_by(cell)) or self._found.get(_like(cell))
        if not found:
            return None
        return Cost(
            median(each.seconds for each in found), int(median(each.bytes_kept for each in found))
        )


def tabled(cell: SweepCell) -> Cost | None:
    """What the table says; None where it has no such cell."""
    for row in _table()["cells"]:
        same = (row["task"], row["dataset"], row.get("limit"), row.get("options", {}))
        named = any(fnmatchcase(cell.tokenizer, name) for name in row["tokenizers"])
        plain = not cell.own and cell.precision is None
        if named and plain and same == (cell.task, cell.dataset, cell.limit, dict(cell.options)):
            return Cost(row["seconds"], row["bytes"])
    return None


def table_machine() -> str:
    """What the table was measured on."""
    return _table()["machine"]


@cache
def _table() -> dict[str, Any]:
    path = importlib.import_module(_CATALOGUE).SWEEP_COSTS
    return json.loads(path.read_text(encoding="utf-8"))


def _bytes_beside(record: Path) -> int:
    """Of the record, its rows and its gallery."""
    files = [*record.parent.glob(f"{record.stem}.*"), *record.parent.glob(f"{record.stem}.*/**/*")]
    return sum(path.stat().st_size for path in files if path.is_file())


def _like(cell: SweepCell) -> tuple:
    return (cell.task, cell.dataset, cell.limit, cell.options)


def _like_by(cell: SweepCell) -> tuple:
    return (*_like(cell), cell.tokenizer, cell.own)
