"""`medbench cache`: what the cache holds, and how to make room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .cache import Contents, Plan

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the sub-commands to the command line."""
    cache = typer.Typer(
        help="Derived files: show what the cache holds, or prune it.", invoke_without_command=True
    )
    cache.callback()(_show_by_default)
    cache.command()(show)
    cache.command()(prune)
    app.add_typer(cache, name="cache")


def _show_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show()


def show(as_json: Json = False) -> None:
    """Show kinds, entries, sizes and last use; nothing is changed."""
    from .cache import contents

    found = contents()
    typer.echo(json.dumps(_facts(found), indent=1) if as_json else _text(found))


def prune(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Only what is unused as long."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind; repeatable.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All kinds but weights, however fresh.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove derived files; all but downloaded weights are made again when they are needed."""
    from .cache import Selection, contents, plan
    from .cache import prune as remove
    from .confirming import confirm
    from .errors import UsageError

    if everything == bool(kind or older_than is not None):
        message = (
            "say what may go: --older-than DAYS, --kind KIND (both together narrow it down), or "
            "--all alone"
        )
        raise UsageError(message)
    found = contents()
    chosen = plan(found, Selection(tuple(kind or ()), older_than or 0.0))
    if not as_json:
        typer.echo(_plan_text(chosen))
    freed = 0
    if chosen.removed and not dry_run:
        confirm(f"Remove {len(chosen.removed)} entries?", yes=yes)
        freed = remove(found, chosen)
    if as_json:
        facts = {
            "removed": [str(entry.path) for entry in chosen.removed] if not dry_run else [],
            "would_remove": [str(entry.path) for entry in chosen.removed] if dry_run else [],
            "kept": [{"path": str(entry.path), "reason": reason} for entry, reason in chosen.kept],
            "freed_bytes": freed,
        }
        typer.echo(json.dumps(facts, indent=1))
    elif not dry_run:
        typer.echo(f"{_size(freed)} freed")


def _facts(found: Contents) -> dict:
    from .cache import KINDS

    return {
        "root": str(found.root),
        "size_bytes": sum(entry.size_bytes for entry in found.entries),
        "kinds": {
            kind: {
                "what": what,
                "entries": len(entries := found.of(kind)),
                "size_bytes": sum(entry.size_bytes for entry in entries),
                "last_used": max((_date(entry.used) for entry in entries), default=None),
            }
            for kind, what in KINDS.items()
        },
        "unknown": [str(path) for path in found.unknown],
    }


def _text(found: Contents) -> str:
    from tabulate import tabulate

    facts = _facts(found)
    rows = [
        [kind, row["entries"], _size(row["size_bytes"]), row["last_used"], row["what"]]
        for kind, row in facts["kinds"].items()
        if row["entries"]
    ]
    lines = [f"{found.root}: {_size(facts['size_bytes'])} in {len(found.entries)} entries"]
    if rows:
        headers = ["kind", "entries", "size", "last used", "what"]
        lines.append(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))
    if found.unknown:
        names = ", ".join(path.name for path in found.unknown)
        lines.append(f"not of this version of medbench, never pruned: {names}")
    return "\n\n".join(lines)


def _plan_text(chosen: Plan) -> str:
    lines = [
        f"{entry.kind}: {_short(entry.path)} ({_size(entry.size_bytes)}, used {_date(entry.used)})"
        for entry in chosen.removed
    ]
    lines += [f"kept: {_short(entry.path)}: {reason}" for entry, reason in chosen.kept]
    lines.append(f"{len(chosen.removed)} entries, {_size(chosen.size_bytes)}, can go")
    return "\n".join(lines)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _size(size_bytes: int) -> str:
    from .sizes import size_text

    return size_text(size_bytes)


def _date(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d")
