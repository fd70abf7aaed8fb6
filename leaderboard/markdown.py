"""The leaderboard as one Markdown page: a pure function of the records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..harness.errors import UsageError
from ..harness.record import Record
from ..harness.tables import (
    Column,
    Row,
    columns_of,
    markdown_table,
    modality_columns,
    modality_rows,
    reasons,
    summary_rows,
)
from .boards import boards, by_track
from .ranking import RANKED_KINDS, RankRange, rank_ranges, unpinned_notes
from .recipes import recipes
from .seeds import deviation_rows, seed_note
from .trust import TRACK_MEANING, WORDS, Marks, trust_mark

BEGIN = "<!-- medbench:begin -->"
END = "<!-- medbench:end -->"

_LEGEND = (
    "± is half the 95 % interval: bootstrap over images (patients where known) for means of "
    "per-image scores, spread over common random halves for Fréchet and kernel distances, "
    "Student's interval over the sampling seeds for generated images. "
    "Ranks are ranges over the common resamples. Bounds and codecs are reference rows: shown, "
    "not ranked. An asterisk at bits/px marks a continuous latent (16 bits per number), which "
    "is not a code. Research comparison, not evidence of diagnostic safety."
)


_NO_MARKS = Marks()


def render(records: Sequence[Record], marks: Marks = _NO_MARKS) -> str:
    """All boards, one after the other, with a table for each track: they are not ranked together.

    Args:
        records: of any tasks and data sets.
        marks: what maintainers said of them (see `trust`).

    Raises:
        UsageError: there are no records.
    """
    if not records:
        message = (
            "no records to show. Make some with: medbench run --tokenizer meditok --task recon"
        )
        raise UsageError(message)
    parts = ["# medbench leaderboard", _LEGEND, _trust_legend(records, marks)]
    parts += [_board(board, marks) for board in boards(records)]
    return "\n\n".join(parts) + "\n"


def _trust_legend(records: Sequence[Record], marks: Marks) -> str:
    seen = {trust_mark(record, marks).word: trust_mark(record, marks) for record in records}
    ordered = [seen[word] for word in WORDS if word in seen]
    return "Trust: " + "; ".join(f"{mark}: {mark.meaning}" for mark in ordered) + "."


def _board(records: list[Record], marks: Marks) -> str:
    facts = records[0].dataset
    limit = f", at most {facts.limit} per modality" if facts.limit else ""
    made = f", {escaped(found)}" if (found := recipes(records)) else ""
    parts = [
        f"## {records[0].task} on {_code(facts.id)}{made}",
        f"{facts.n} images of split {_code(facts.split)}{limit}, "
        f"{facts.resolution}×{facts.resolution} pixels; "
        f"data fingerprint {_code(facts.fingerprint[:12])}; licence: {escaped(facts.licence)}.",
    ]
    tracks = by_track(records)
    for track, rows in tracks.items():
        parts.append(f"### Track `{track}`: {TRACK_MEANING[track]}")
        parts += _tables(rows, marks)
    notes = [*reasons(records), *unpinned_notes(records)]
    if notes:
        parts.append("\n".join(f"- {escaped(note)}" for note in notes))
    parts.append(_evidence(records))
    return "\n\n".join(parts)


def _tables(records: Sequence[Record], marks: Marks) -> list[str]:
    """The summary of a track with ranks and trust marks, and its tables over modalities."""
    columns = columns_of(records[0].task, records)
    primary = columns[0] if columns else None
    records = sorted(records, key=lambda record: _order(record, primary))
    ranked = [place for place, r in enumerate(records) if trust_mark(r, marks).ranked]
    ranges: dict[int, RankRange | None] = {}
    if primary is not None:
        among = [records[place] for place in ranked]
        found = rank_ranges(among, primary.metric, primary.setting)
        ranges = dict(zip(ranked, found, strict=True))
    rows = [
        {"rank": str(ranges.get(place) or "–"), **row, "trust": _trust(records[place], marks)}
        for place, row in enumerate(summary_rows(records))
    ]
    parts = [markdown_table(_labelled(rows, records))]
    # What could not be measured says so above; below it would be rows of dashes.
    scored = [record for record in records if any(m.value is not None for m in record.metrics)]
    if note := seed_note(scored):
        deviations = markdown_table(_labelled(deviation_rows(scored, columns), scored))
        parts += [f"{note}.", "#### Standard deviation over the sampling seeds", deviations]
    for column in modality_columns(records[0].task):
        if by_modality := modality_rows(scored, column):
            parts.append(f"#### {column.heading} per modality")
            parts.append(markdown_table(_labelled(by_modality, scored)))
    return parts


def _labelled(rows: Sequence[Row], records: Sequence[Record]) -> list[Row]:
    """Rows of these records; those of one name are told apart by their seeds."""
    names = Counter(record.full_name for record in records)
    return [
        {**row, "tokenizer": f"{record.full_name}, seed {record.identity.seed}"}
        if names[record.full_name] > 1 and record.identity.seed is not None
        else row
        for row, record in zip(rows, records, strict=True)
    ]


def _trust(record: Record, marks: Marks) -> str:
    return "reference" if record.info.kind not in RANKED_KINDS else str(trust_mark(record, marks))


def escaped(text: str) -> str:
    """A text from a record without what Markdown, or HTML in it, would act on."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("`", "'") + "`"


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
            f"- {_code(record.full_name)}: {_code(record.command)} (medbench "
            f"{escaped(environment.medbench)}, {escaped(commit)}{dirty}, torch "
            f"{escaped(str(environment.torch))}, {escaped(environment.device)}, "
            f"{escaped(record.created)})"
        )
    lines += [
        "",
        "Definitions: " + "; ".join(f"{n} {_code(i)} `{h}`" for n, i, h in sorted(definitions)),
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
