"""A table's numbers as files: CSV for people, JSON and Parquet for programs, `.js` for pages."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic_core import to_json

from ...harness.record import Metric, Record
from ...harness.vocabulary import MACRO, POOLED
from .columns import column_key
from .gallery import Picture
from .render import Site
from .views import Board, Row, Table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_OF_RECORD = ("tokenizer", "table", "track", "bits_per_pixel", "status", "mark", "record")
_OF_METRIC = (
    *("metric", "setting", "group", "value", "low", "high", "n", "unit", "direction"),
    *("definition", "definition_hash", "flags", "reason"),
)
_NUMBERS = {"bits_per_pixel", "value", "low", "high"}


def safe_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


@dataclass(frozen=True, slots=True)
class Shown:
    """A row with its record's values, in the order of the downloads' fields."""

    table: Table
    row: Row
    record: Record
    metrics: Sequence[tuple[Any, ...]]


def write_downloads(site: Site, board: Board, records: Mapping[str, Mapping[str, Record]]) -> None:
    """The board's values as CSV, JSON and Parquet; `records` by table id and row name.

    CSV and Parquet are long tables, one line per record, metric and group. JSON has an entry per
    record, with command, commit and hardware.
    """
    shown = [
        Shown(table, row, record, [_values_of(metric) for metric in record.metrics])
        for table in board.tables
        for row in table.rows
        for record in (records[table.id][row.name],)
    ]
    table = _long_table(shown)
    site.write_with(
        f"data/{board.name}.parquet",
        lambda path: pq.write_table(table, path, compression="zstd"),
    )
    site.write_with(f"data/{board.name}.csv", lambda path: _write_csv(table, path))
    entries = [_entry(each) for each in shown]
    facts = {"board": board.name, "task": board.task, "dataset": board.facts.model_dump()}
    text = to_json(facts | {"fields": _OF_METRIC, "rows": entries})
    site.write(f"data/{board.name}.json", text + b"\n")


def _long_table(shown: Sequence[Shown]) -> pa.Table:
    """Columns are built one after the other: a board has tens of thousands of lines."""
    lines = np.repeat(np.arange(len(shown)), [len(each.metrics) for each in shown])
    facts = [
        (row.name, table.id, table.track, row.bits, row.status, row.mark.word, row.run)
        for table, row in ((each.table, each.row) for each in shown)
    ]
    columns = {
        name: _array(name, column).take(pa.array(lines))
        for name, column in zip(_OF_RECORD, zip(*facts, strict=True), strict=True)
    }
    values = [metric for each in shown for metric in each.metrics]
    across = zip(*values, strict=True) if values else [()] * len(_OF_METRIC)
    for name, column in zip(_OF_METRIC, across, strict=True):
        columns[name] = _array(name, column)
    return pa.table(columns)


def _array(name: str, column: Sequence[Any]) -> pa.Array:
    if name in _NUMBERS:
        return pa.array(column, pa.float64())
    if name == "n":
        return pa.array(column, pa.int64())
    return pa.array(column, pa.string()).dictionary_encode()


def _write_csv(table: pa.Table, path: Path) -> None:
    """Each different text is made safe once; numbers stay as they are."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            whole = column.combine_chunks()
            safe = pa.array([safe_text(text) for text in whole.dictionary.to_pylist()], pa.string())
            columns.append(pa.DictionaryArray.from_arrays(whole.indices, safe).cast(pa.string()))
        else:
            columns.append(column)
    pa_csv.write_csv(pa.table(columns, names=table.column_names), path)


def _values_of(metric: Metric) -> tuple[Any, ...]:
    return (
        metric.name,
        metric.setting,
        metric.group,
        metric.value,
        metric.low,
        metric.high,
        metric.n,
        metric.unit,
        metric.direction,
        metric.definition,
        metric.definition_hash,
        "; ".join(metric.flags),
        metric.reason or "",
    )


def _entry(shown: Shown) -> dict[str, Any]:
    table, row, record = shown.table, shown.row, shown.record
    environment = record.environment
    return {
        "tokenizer": row.name,
        "table": table.id,
        "track": table.track,
        "rank": [row.rank.best, row.rank.worst] if row.rank else None,
        "bits_per_pixel": row.bits,
        "status": record.status,
        "mark": row.mark.word,
        "record": row.run,
        "kind": record.info.kind,
        "parameters": record.info.parameters,
        "weights_sha256": record.info.weights_sha256,
        "weights_licence": record.info.weights_licence,
        "training_data": row.disclosure,
        "command": record.command,
        "commit": environment.git_commit,
        "dirty": environment.git_dirty,
        "device": row.device,
        "created": record.created,
        "metrics": shown.metrics,
    }


def write_scripts(
    site: Site,
    board: Board,
    records: Mapping[str, Mapping[str, Record]],
    galleries: Mapping[str, Sequence[Picture]],
) -> None:
    """What scripts need, as files that assign one global (browsers block fetch on file://).

    `data/<board>.js`: each row's values per group. `data/<board>.draws.js`: the replicates of
    ranked values, for paired differences of any two rows, and the pictures that they can share.
    """
    values = {table.id: _values(table) for table in board.tables}
    draws = {table.id: _draws(table, records[table.id], galleries) for table in board.tables}
    site.write(f"data/{board.name}.js", _assignment("medbenchValues", board.name, values))
    site.write(f"data/{board.name}.draws.js", _assignment("medbenchDraws", board.name, draws))


def _assignment(name: str, key: str, value: Any) -> bytes:
    head = f"(window.{name} ??= {{}})[{json.dumps(key)}] = "
    return f"{head}{_ascii(to_json(value).decode())};\n".encode("ascii")


def _ascii(text: str) -> str:
    """JSON text of ASCII alone, so that no server's idea of an encoding can change a script."""
    for common in ("±", "–", "↑", "↓"):
        text = text.replace(common, json.dumps(common)[1:-1])
    if text.isascii():  # known at once, where a search would read megabytes
        return text
    return _OTHER.sub(lambda found: json.dumps(found.group())[1:-1], text)


_OTHER = re.compile(r"[^\x00-\x7f]+")


def _values(table: Table) -> dict[str, Any]:
    return {
        row.name: {
            group: [[v.text, v.spread, v.value, v.note] for v in cells]
            for group, cells in row.groups.items()
        }
        for row in table.rows
    }


def _draws(
    table: Table, records: Mapping[str, Record], galleries: Mapping[str, Sequence[Picture]]
) -> dict[str, Any]:
    columns = [
        {"key": c.key, "title": c.title, "unit": c.unit, "direction": c.direction}
        for c in table.columns
    ]
    return {
        "columns": columns,
        "rows": {
            row.name: {
                "kind": row.kind,
                "run": row.run,
                "bits": row.bits_text,
                "values": [[v.text, v.value, v.note] for v in row.cells],
                "draws": _packed(records[row.name]),
                "pictures": [
                    {
                        "id": picture.id,
                        "group": picture.group,
                        "original": picture.original,
                        "image": picture.image,
                        "map": picture.error,
                        "error": picture.mean_error,
                    }
                    for picture in galleries.get(row.name, ())
                    if picture.original
                ],
            }
            for row in table.rows
        },
    }


def _packed(record: Record) -> dict[str, str]:
    """Resamples by column key: base64 of little-endian float32; macro ones, else the pooled."""
    packed: dict[str, str] = {}
    for group in (POOLED, MACRO):
        for metric in record.metrics:
            if metric.group == group and metric.replicates:
                draws = np.asarray(metric.replicates, "<f8").astype("<f4")
                key = column_key(metric.name, metric.setting)
                packed[key] = base64.b64encode(draws.tobytes()).decode()
    return packed
