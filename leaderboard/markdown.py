"""The leaderboard as one Markdown page: a pure function of the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..harness.errors import UsageError
from ..harness.record import Record
from ..harness.tables import (
    Column,
    columns_of,
    markdown_table,
    modality_columns,
    modality_rows,
    reasons,
    summary_rows,
)
from .ranking import RANKED_KINDS, rank_ranges

BEGIN = "<!-- medbench:begin -->"
END = "<!-- medbench:end -->"

_LEGEND = (
    "± is half the 95 % interval: bootstrap over images (patients where known) for means of "
    "per-image scores, spread over common random halves for Fréchet and kernel distances. "
    "Ranks are ranges over the common resamples. Bounds and codecs are reference rows: shown, "
    "not ranked. An asterisk at bits/px marks a continuous latent (16 bits per number), which "
    "is not a code. Research comparison, not evidence of diagnostic safety."
)


def render(records: Sequence[Record]) -> str:
    """All boards, one after the other.

    Raises:
        UsageError: there are no records.
    """
    if not records:
        message = (
            "no records to show. Make some with: medbench run --tokenizer meditok --task recon"
        )
        raise UsageError(message)
    parts = ["# medbench leaderboard", _LEGEND, *(_board(board) for board in boards(records))]
    return "\n\n".join(parts) + "\n"


def boards(records: Sequence[Record]) -> list[list[Record]]:
    """Records that may share a table: same task, same images, same definitions.

    A definition hash that two records both carry must agree; otherwise they are kept apart, so
    that values of different definitions are never ranked together.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.dataset.id, r.full_name, r.identity.key8))
    tables: list[list[Record]] = []
    for record in ordered:
        home = next((t for t in tables if all(_comparable(record, other) for other in t)), None)
        if home is None:
            tables.append([record])
        else:
            home.append(record)
    return tables


def _comparable(a: Record, b: Record) -> bool:
    if (a.task, a.dataset.id, a.dataset.fingerprint) != (
        b.task,
        b.dataset.id,
        b.dataset.fingerprint,
    ):
        return False
    hashes = {(m.name, m.setting): m.definition_hash for m in a.metrics}
    return all(
        hashes.get((m.name, m.setting), m.definition_hash) == m.definition_hash for m in b.metrics
    )


def _board(records: list[Record]) -> str:
    columns = columns_of(records[0].task, records)
    primary = columns[0] if columns else None
    records = sorted(records, key=lambda record: _order(record, primary))
    facts = records[0].dataset
    limit = f", at most {facts.limit} per modality" if facts.limit else ""
    parts = [
        f"## {records[0].task} on `{facts.id}`",
        f"{facts.n} images of split `{facts.split}`{limit}, {facts.resolution}×{facts.resolution} "
        f"pixels; data fingerprint `{facts.fingerprint[:12]}`; licence: {facts.licence}.",
    ]
    rows = summary_rows(records)
    if primary is not None:
        ranges = rank_ranges(records, primary.metric, primary.setting)
        rows = [
            {"rank": str(ranges.get(record.full_name, "–")), **row}
            for record, row in zip(records, rows, strict=True)
        ]
    parts.append(markdown_table(rows))
    for column in modality_columns(records[0].task):
        if by_modality := modality_rows(records, column):
            parts.append(f"### {column.heading} per modality")
            parts.append(markdown_table(by_modality))
    notes = reasons(records)
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    parts.append(_evidence(records))
    return "\n\n".join(parts)


def _order(record: Record, primary: Column | None) -> tuple[bool, float, str]:
    """Ranked rows first, best first; then the reference rows, best first."""
    found = primary.overall(record) if primary else None
    if found is None or found.value is None:
        return (record.info.kind not in RANKED_KINDS, float("inf"), record.full_name)
    sign = 1 if found.direction == "lower" else -1
    return (record.info.kind not in RANKED_KINDS, sign * found.value, record.full_name)


def _evidence(records: Sequence[Record]) -> str:
    """Command, definitions and versions behind the rows."""
    definitions = {
        (metric.name, metric.definition, metric.definition_hash)
        for record in records
        for metric in record.metrics
    }
    lines = ["<details><summary>How to repeat these rows</summary>", ""]
    for record in records:
        environment = record.environment
        commit = (environment.git_commit or "no commit")[:10]
        dirty = ", dirty tree" if environment.git_dirty else ""
        lines.append(
            f"- `{record.full_name}`: `{record.command}` (medbench {environment.medbench}, "
            f"{commit}{dirty}, torch {environment.torch}, {environment.device}, {record.created})"
        )
    lines += [
        "",
        "Definitions: " + "; ".join(f"{n} `{i}` `{h}`" for n, i, h in sorted(definitions)),
    ]
    lines += ["", "</details>"]
    return "\n".join(lines)


def replace_block(path: Path, page: str) -> str:
    """The text of `path` with its marked block replaced by `page`.

    Raises:
        UsageError: the file cannot be read, or does not hold the two marks once, in order.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise UsageError(message) from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        message = f"{path}: expected one line {BEGIN} and, below it, one line {END}"
        raise UsageError(message)
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{page}{END}{after}"
