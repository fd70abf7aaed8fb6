"""Parquet tables of unknown origin: rows, cells and memory are bounded before they are read.

A file of a few kilobytes can stand for any number of equal values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

MOST_CELLS = 1 << 28
"""Rows times the columns that are read."""
LARGEST_TABLE_BYTES = 4 << 30
"""In memory, as Arrow holds it."""
_BLOCK_ROWS = 1 << 16
_BLOCK_BYTES = 256 << 20
"""What a block of rows may become where each of its values can be as long as its column."""


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, flat: bool = True
) -> pd.DataFrame:
    """The table of a Parquet file; what it says about pandas is not listened to.

    Args:
        path: the file.
        columns: those that are wanted, in this order; others are not read. None: all.
        flat: whether lists and structures in cells are refused.

    Raises:
        UsageError: not a readable Parquet file, or a table too large; names the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            message = "no such file"
            raise OSError(message)
        with pq.ParquetFile(path) as file:
            names, texts = file.schema_arrow.names, _texts(file.schema_arrow)
            wanted = names if columns is None else [name for name in columns if name in names]
            _check_columns(file.schema_arrow, wanted, flat=flat)
            rows = file.metadata.num_rows
            if rows * max(1, len(wanted)) > MOST_CELLS:
                message = f"{rows:,} rows of {len(wanted)} columns; at most {MOST_CELLS:,} cells"
                raise ValueError(message)
            block_rows = _block_rows(file, wanted)
        blocks, held = [], 0
        # Texts that repeat are kept once until it is known how much they come to.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            for block in file.iter_batches(block_rows, columns=wanted):
                block.validate(full=True)  # texts are UTF-8, and indices have their entry
                held += sum(map(_unpacked_bytes, block.columns))
                if held > LARGEST_TABLE_BYTES:
                    message = f"more than {LARGEST_TABLE_BYTES:,} bytes unpacked"
                    raise ValueError(message)
                plain = [_plain(column) for column in block.columns]
                blocks.append(pa.RecordBatch.from_arrays(plain, names=block.schema.names))
        if not blocks:
            return pa.table({name: [] for name in wanted}).to_pandas()
        return pa.Table.from_batches(blocks).to_pandas(ignore_metadata=True)
    except Exception as error:  # the library raises many kinds on damaged files
        message = f"{path}: not a readable Parquet table ({error}). Truncated or damaged."
        raise UsageError(message) from error


def _check_columns(schema: pa.Schema, wanted: Sequence[str], *, flat: bool) -> None:
    import pyarrow as pa

    for name in wanted:
        if schema.names.count(name) > 1:
            message = f"the column {name!r} occurs twice"
            raise ValueError(message)
        if flat and pa.types.is_nested(schema.field(name).type):
            message = f"the column {name!r} holds {schema.field(name).type}, not plain values"
            raise ValueError(message)


def column_names(path: Path, *, flat: bool = False) -> list[str]:
    """The columns of a Parquet file; `flat`: without those of lists and structures.

    Raises:
        UsageError: not a readable Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow
            return [c.name for c in columns if not (flat and pa.types.is_nested(c.type))]
    except Exception as error:
        message = f"{path}: not a readable Parquet table ({error}). Truncated or damaged."
        raise UsageError(message) from error


def _texts(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    kinds = (pa.types.is_string, pa.types.is_binary, pa.types.is_dictionary)
    return [each.name for each in schema if any(is_kind(each.type) for is_kind in kinds)]


def _unpacked_bytes(column: pa.Array) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    texts = column.dictionary.cast(pa.large_binary())
    lengths = pc.call_function("binary_length", [texts])
    total = pc.call_function("sum", [lengths.take(column.indices)])
    return 8 * len(column) + (total.as_py() or 0)


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _block_rows(file: ParquetFile, wanted: list[str]) -> int:
    """Rows to unpack at a time; values that are prefixes of each other repeat without a trace."""
    groups = range(file.metadata.num_row_groups)
    for group in groups:
        # A reader raises where statistics contradict their column; asked for alone, they abort.
        next(file.iter_batches(1, row_groups=[group], columns=wanted), None)
    starts = tuple(f"{name}." for name in wanted)  # a plain column's name may have dots as well
    places = [i for i, leaf in enumerate(file.schema) if f"{leaf.path}.".startswith(starts)]
    columns = [file.metadata.row_group(group).column(place) for group in groups for place in places]
    sizes = [c.total_uncompressed_size for c in columns if "DELTA_BYTE_ARRAY" in c.encodings]
    return max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, *sizes, 1)))
