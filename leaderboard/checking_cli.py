"""`medbench submit check` and `medbench recheck`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..harness.errors import UsageError, ValidationFailed

submit = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@submit.callback()
def _submit() -> None:
    """Check records before they are submitted."""


@submit.command("check")
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Records as `medbench run` writes them.")
    ],
    previous: Annotated[
        Path | None,
        typer.Option("--previous", help="Results to compare with: jumps and trivial bounds."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Check schema, hashes, aggregates against per-image rows, sanity and jumps."""
    from dataclasses import asdict

    from .submission import check_submission, report

    checked = check_submission(folder, previous)
    if not checked:
        message = f"{folder} holds no records (task/dataset/tokenizer@variant/key.json)"
        raise UsageError(message)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in checked], indent=1, default=str))
    else:
        typer.echo(report(checked))
    bad = sum(bool(each.problems) for each in checked)
    if bad:
        message = f"{bad} of {len(checked)} records cannot be submitted; the problems are above"
        raise ValidationFailed(message)


def recheck(
    record: Annotated[Path, typer.Argument(help="A record, or a directory of records.")],
    rows_only: Annotated[
        bool,
        typer.Option("--rows-only", help="Only recompute aggregates from per-image rows."),
    ] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="What to run, where the record's name is not known here."),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Recompute a record's aggregates, and its values where data and weights are here."""
    from ..harness.locations import data_root as environment_root
    from .aggregates import recompute
    from .references import stored_at

    outcomes = []
    for stored in stored_at(record):
        again = recompute(stored)
        outcome = {
            "record": str(stored.path),
            "confirmed_by_rows": len(again.agree),
            "problems": list(again.problems),
            "not_from_rows": list(again.not_from_rows),
            "measured_again": None,
            "defined_otherwise_here": [],
            "not_measured_again": "asked for --rows-only" if rows_only else None,
        }
        if not rows_only:
            from .remeasure import remeasure

            root = data_root or environment_root()
            measured = remeasure(stored, data_root=root, tokenizer=tokenizer)
            outcome["problems"] = [*again.problems, *measured.differences]
            outcome["not_measured_again"] = measured.reason
            outcome["measured_again"] = None if measured.reason else measured.agree
            outcome["defined_otherwise_here"] = list(measured.other_definitions)
        outcomes.append(outcome)
    typer.echo(json.dumps(outcomes, indent=1) if as_json else "\n".join(map(_said, outcomes)))
    if any(outcome["problems"] for outcome in outcomes):
        message = "a record does not say what its rows or a new measurement say; see above"
        raise ValidationFailed(message)


def _said(outcome: dict) -> str:
    lines = [f"{outcome['record']}: {outcome['confirmed_by_rows']} values confirmed by their rows"]
    if outcome["measured_again"] is not None:
        lines.append(f"  measured again: {outcome['measured_again']} values agree")
    elif outcome["not_measured_again"]:
        lines.append(f"  not measured again: {outcome['not_measured_again']}")
    if outcome["not_from_rows"]:
        lines.append(f"  not from rows: {', '.join(outcome['not_from_rows'])}")
    if outcome["defined_otherwise_here"]:
        lines.append(f"  defined otherwise here: {', '.join(outcome['defined_otherwise_here'])}")
    lines += [f"  differs: {problem}" for problem in outcome["problems"]]
    return "\n".join(lines)
