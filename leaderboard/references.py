"""What users name on the command line, as records: a file, a directory, or a tokenizer's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..harness.errors import UsageError
from ..harness.record import Record
from ..harness.record_files import Stored, beside_records, load_record, read_results


def stored_at(path: Path) -> list[Stored]:
    """The records of a file, of a results directory, or of a folder that holds record files.

    Raises:
        UsageError: nothing there, a record that does not load, or a cell that occurs twice.
    """
    if path.is_file():
        return [Stored(path, load_record(path))]
    found = read_results(path)
    if found.problems:
        raise UsageError("\n".join(str(problem) for problem in found.problems))
    # Also the folder of one task, dataset or tokenizer, so that shell completion is enough.
    inner = [] if found.stored else sorted(path.rglob("*.json"))
    chosen = [file for file in inner if not beside_records(file, path)]
    stored = found.stored or [Stored(file, load_record(file)) for file in chosen]
    if not stored:
        message = f"{path} holds no records. Make some with: medbench run --output {path}"
        raise UsageError(message)
    return stored


def named(references: Sequence[str], results: Path) -> dict[str, list[Stored]]:
    """Records by the reference that stands for them.

    Args:
        references: paths of records or directories, or names of tokenizers in `results`: `meditok`
            (every variant), `meditok@tiny`.
        results: where names are looked up.

    Raises:
        UsageError: a reference that is neither a path nor a name in `results`.
    """
    known: list[Stored] | None = None
    table: dict[str, list[Stored]] = {}
    for reference in references:
        path = Path(reference)
        if path.exists():
            for stored in stored_at(path):
                table.setdefault(_unique(stored.record, reference), []).append(stored)
            continue
        known = stored_at(results) if known is None else known
        chosen = [s for s in known if reference in (s.record.full_name, s.record.tokenizer)]
        if not chosen:
            names = ", ".join(sorted({s.record.full_name for s in known}))
            message = (
                f"{reference!r} is neither a path nor a tokenizer with records in {results}, "
                f"which holds: {names}"
            )
            raise UsageError(message)
        for stored in chosen:
            table.setdefault(stored.record.full_name, []).append(stored)
    return table


def _unique(record: Record, reference: str) -> str:
    return f"{record.full_name} ({reference})"
