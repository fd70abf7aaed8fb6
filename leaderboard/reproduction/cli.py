"""`medbench reproduce`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...harness.errors import ExitCode

if TYPE_CHECKING:
    from .results import Reproduced


def reproduce(
    paper: Annotated[str, typer.Argument(help="Id of a paper in the ledger: meditok-paper.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only: say what can run and what is missing.")
    ] = False,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", help="reconstruction, classification, synthesis or vqa; default: all."
        ),
    ] = None,
    results: Annotated[
        Path,
        typer.Option("--results", "--output", "--out", help="Records are read and written here."),
    ] = Path("results"),
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", show_default=True)
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Lay a paper's printed values beside ours, and say what each difference may come from."""
    from ...harness.locations import data_root as environment_root
    from ..ledger import papers
    from .plan import TABLES, plan
    from .results import reproduced, run_missing

    root = data_root or environment_root()
    cells = plan(paper, data_root=root, tables=table or TABLES)
    failures: list[str] = []
    if not dry_run:
        chosen = None if device == "auto" else device
        failures = run_missing(cells, results, data_root=root, device=chosen)
    found = reproduced(cells, results)
    if as_json:
        typer.echo(json.dumps([_facts(each) for each in found], indent=1))
    else:
        typer.echo(_report(found, papers()[paper].findings, dry_run=dry_run))
    for failure in failures:
        typer.echo(f"failed: {failure}", err=True)
    if failures:
        raise typer.Exit(int(ExitCode.CELLS_FAILED))
    if not dry_run and not any(each.ours is not None for each in found):
        typer.echo("no cell could be run; the last column says what each of them needs", err=True)
        raise typer.Exit(int(ExitCode.MISSING_PREREQUISITE))


def _report(found: Sequence[Reproduced], findings: Sequence[str], *, dry_run: bool) -> str:
    from ...harness.tables import text_table

    parts = []
    for name in dict.fromkeys(each.cell.row.table for each in found):
        chosen = [each for each in found if each.cell.row.table == name]
        numbers: dict[str, int] = {}
        for each in chosen:
            for reason in _reasons(each):
                numbers.setdefault(reason, len(numbers) + 1)
        rows = [_row(each, numbers) for each in chosen]
        notes = [f"[{number}] {reason}" for reason, number in numbers.items()]
        parts.append("\n".join([name, text_table(rows), *notes]))
    ready = sum(not each.cell.missing and not each.cell.is_mean for each in found)
    ours = sum(each.ours is not None for each in found)
    plan = "; planned only" if dry_run else ""
    parts.append(f"{len(found)} cells: {ours} with our value, {ready} can be run here{plan}")
    parts.append("\n".join(["What does not fit in the paper:", *(f"- {f}" for f in findings)]))
    return "\n\n".join(parts)


def _row(each: Reproduced, numbers: Mapping[str, int]) -> dict[str, str]:
    row = each.cell.row
    spread = f" ±{row.spread:g}" if row.spread is not None else ""
    return {
        "tokenizer": row.method,
        "place": row.place,
        "metric": row.metric,
        "paper": f"{row.value:g}{spread}",
        "ours": "–" if each.ours is None else f"{each.ours:.2f}",
        "difference": "–" if each.difference is None else f"{each.difference:+.2f}",
        "why": " ".join(f"[{numbers[reason]}]" for reason in _reasons(each)),
    }


def _reasons(each: Reproduced) -> list[str]:
    """What stands below the table: the reasons, and what is odd about the printed value."""
    cell = each.cell
    if each.ours is None and cell.missing:
        reasons = [f"missing: {lacking}" for lacking in cell.missing]
    else:
        ready = each.ours is None and not cell.is_mean
        reasons = [f"can be run: {each.why}" if ready else each.why]
    return [*reasons, *(f"in the paper: {note}" for note in cell.row.note.split("; ") if note)]


def _facts(each: Reproduced) -> dict[str, object]:
    cell = each.cell
    return {
        "table": cell.row.table,
        "method": cell.row.method,
        "place": cell.row.place,
        "metric": cell.row.metric,
        "paper": cell.row.value,
        "spread": cell.row.spread,
        "note": cell.row.note,
        "tokenizer": cell.tokenizer,
        "task": cell.task,
        "datasets": list(cell.datasets),
        "ours": each.ours,
        "difference": each.difference,
        "why": each.why,
        "missing": list(cell.missing),
    }
