"""Whether submitted records may be taken over: schema, hashes, aggregates, sanity, jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..harness.record import Record
from ..harness.record_files import Stored, read_results, record_path
from ..harness.tables import columns_of
from .aggregates import recompute
from .bounds import check_sanity
from .pairs import paired_difference


@dataclass(frozen=True, slots=True)
class Checked:
    """One submitted record."""

    path: Path
    name: str
    confirmed: int
    """Values that its per-image rows give again."""
    problems: list[str] = field(default_factory=list)
    """Each of them keeps the record out."""
    notes: list[str] = field(default_factory=list)
    """What a reviewer should look at: `suspect`, a dirty tree, a jump against the previous row."""


def check_submission(folder: Path, previous: Path | None = None) -> list[Checked]:
    """Check every record below a folder.

    Args:
        folder: laid out as `medbench run` writes it.
        previous: results to compare with, so that jumps are seen.

    Raises:
        UsageError: no such folder.
    """
    found = read_results(folder)
    earlier = read_results(previous).stored if previous is not None else []
    refused = [Checked(p.path, p.path.name, 0, [p.reason]) for p in found.problems]
    checked = [_checked(stored, folder, earlier) for stored in found.stored]
    known = [*found.stored, *earlier]
    for each, stored in zip(checked, found.stored, strict=True):
        sanity = check_sanity(stored.record, [other.record for other in known])
        each.problems.extend(sanity.problems)
        each.notes.extend(sanity.notes)
    return [*refused, *checked]


def _checked(stored: Stored, folder: Path, earlier: Sequence[Stored]) -> Checked:
    record = stored.record
    again = recompute(stored)
    problems = [*_misplaced(stored, folder), *_hashes(record), *again.problems]
    notes = [*_doubts(record), *_jumps(stored, earlier)]
    if again.not_from_rows:
        notes.append(f"not checked from rows: {', '.join(again.not_from_rows)}")
    what = f"{record.task}/{record.dataset.id} {record.full_name}"
    return Checked(stored.path, what, len(again.agree), problems, notes)


def _misplaced(stored: Stored, folder: Path) -> list[str]:
    record = stored.record
    own = record_path(
        folder,
        task=record.task,
        dataset_id=record.dataset.id,
        tokenizer=record.full_name,
        key8=record.identity.key8,
    )
    return [] if stored.path == own else [f"belongs at {own.relative_to(folder)}, where its key is"]


def _hashes(record: Record) -> list[str]:
    problems = []
    if record.environment.git_commit is None and "git commit unknown" not in " ".join(
        record.environment.notes
    ):
        problems.append("neither a commit nor a reason for its absence is recorded")
    total = sum(record.dataset.groups.values())
    if total != record.dataset.n:
        problems.append(f"groups sum to {total} images, n is {record.dataset.n}")
    if record.status not in ("ok", "partial", "suspect", "not-applicable"):
        problems.append(f"status {record.status} cannot be submitted")
    if record.status_lifted is not None:
        problems.append("`status_lifted` is a maintainer's to write")
    return problems


def _doubts(record: Record) -> list[str]:
    notes = []
    if record.status != "ok":
        notes.append(f"{record.status}: {record.status_reason or 'no reason given'}")
    if record.environment.git_dirty:
        notes.append("measured from a dirty tree")
    if record.info.kind in ("discrete", "continuous") and record.info.weights_sha256 is None:
        notes.append("weights are not pinned by a hash: it can never be `verified`")
    if record.info.training_data == "not disclosed":
        notes.append("training data not disclosed")
    return notes


def _jumps(stored: Stored, earlier: Sequence[Stored]) -> list[str]:
    """Differences from the previous row of the same tokenizer beyond the paired interval."""
    record = stored.record
    notes = []
    for other in earlier:
        old = other.record
        same = (old.task, old.dataset.id, old.full_name) == (
            record.task,
            record.dataset.id,
            record.full_name,
        )
        if not same or old == record:
            continue
        for column in columns_of(record.task, [record]):
            overall = column.overall(record)
            group = overall.group if overall is not None else "all"
            found = paired_difference(stored, other, column.metric, group, column.setting)
            if found.distinguishable and found.value is not None:
                notes.append(
                    f"jump: {column.heading} of {group} differs by {found.value:+.4g} from "
                    f"{other.path.name} (p {found.p:.2g}): say why in the pull request"
                )
    return notes


def report(checked: Sequence[Checked]) -> str:
    """The outcome in words, one block per record."""
    blocks = []
    for each in checked:
        verdict = "REFUSED" if each.problems else "ok"
        lines = [f"{verdict}: {each.name} ({each.path}), {each.confirmed} values confirmed by rows"]
        lines += [f"  problem: {problem}" for problem in each.problems]
        lines += [f"  note: {note}" for note in each.notes]
        blocks.append("\n".join(lines))
    good = sum(not each.problems for each in checked)
    blocks.append(f"{good} of {len(checked)} records may be submitted")
    return "\n".join(blocks)
