"""The images of tables and shards of any length: rows on disk, items made where they are asked for.

What `load_dataset` makes of a table holds every row in memory, which ends at some ten million.
Here rows are kept in the cache, so this is no way to read what must leave no trace there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..file_hashes import file_sha256
from . import jsonl, manifest, webdataset
from .dataset import Item
from .folder import find_path
from .kept_rows import KeptItems, keep_rows
from .rows import RawRow, Row, check_rows

_TABLES: dict[str, Callable[[Path], Iterable[RawRow]]] = {
    "manifest": manifest.read_rows,
    "jsonl": jsonl.read_rows,
}
_SHOWN = 3
"""Problems that a message names."""


def long_list(
    reference: str, *, data_root: Path | None, ct_bias: float = 0.0
) -> Sequence[Item] | None:
    """The items of `manifest:`, `jsonl:` or `wds:`, in their order; None for another reader.

    Args:
        reference: as `load_dataset` takes it.
        data_root: where relative paths are looked for.
        ct_bias: of the rows of CT in a table that state none; see `rows`.

    Raises:
        UsageError: nothing that can be used, or the cache cannot be written.
        MissingPrerequisite: it is not there.
    """
    reader, _, argument = reference.partition(":")
    name, _, variant = reader.partition("@")
    if name in _TABLES:
        return _table(name, argument, variant, data_root, ct_bias)
    if name == "wds":
        return _shards(reference, argument, variant, data_root)
    return None


def _table(
    name: str, argument: str, split: str, data_root: Path | None, ct_bias: float
) -> KeptItems:
    table = find_path(argument, data_root, what=f"{name}:FILE")

    def read() -> Iterator[list[Any]]:
        splits: set[str] = set()
        problems: list[str] = []
        chosen = 0
        for row in check_rows(table, _TABLES[name](table), ct_bias=ct_bias):
            splits.add(str(row.split))
            if not split or row.split == split:
                chosen += 1
                problems += [row.problem] if row.problem else []
                yield row.to_json()
        if not splits:
            message = f"{table}: no rows"
            raise UsageError(message)
        if not chosen:
            found = ", ".join(sorted(splits))
            message = f"{table}: no row has split {split!r}; found: {found}"
            raise UsageError(message)
        _require_one(chosen, problems, f"{table}: row")

    # Not a private copy of the table's name: messages and relative paths follow from it.
    key = [name, str(table), file_sha256(table), split, ct_bias]
    return KeptItems(keep_rows(key, str(table), read), _row_item)


def _row_item(values: list[Any]) -> Item:
    return Row.from_json(values).item()


def _shards(reference: str, argument: str, modality: str, data_root: Path | None) -> KeptItems:
    shards = webdataset.find_shards(argument, data_root)

    def read() -> Iterator[list[Any]]:
        problems: list[str] = []
        count = 0
        for sample in webdataset.read_samples(shards, modality, reference=reference):
            count += 1
            problems += [sample.problem] if sample.problem else []
            yield sample.to_json()
        _require_one(count, problems, f"{reference}: sample")

    stats = [(str(shard), shard.stat()) for shard in shards]
    key = ["wds", modality, [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]]
    return KeptItems(keep_rows(key, reference, read), _sample_item)


def _sample_item(values: list[Any]) -> Item:
    return webdataset.Sample.from_json(values).item()


def _require_one(count: int, problems: Sequence[str], what: str) -> None:
    if len(problems) == count:
        first = "; ".join(problems[:_SHOWN]) or "there is none"
        message = f"{what}: none of the {count} can be used: {first}"
        raise UsageError(message)
