"""`medbench gate`."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ...harness.errors import MedbenchError, ValidationFailed


def gate(
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="REF",
            help="Records to compare with: a directory, a record, or REVISION:PATH of git.",
        ),
    ],
    results: Annotated[
        Path, typer.Option("--results", help="The new records: a directory or a record.")
    ],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="gate.yaml: metrics, minimum effects, alpha ..."),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="REF", help="Records of the last release: catches slow drift."
        ),
    ] = None,
    repeats: Annotated[
        list[str] | None,
        typer.Option(
            "--repeats",
            metavar="REF",
            help="The baseline measured again; gives the noise. Repeatable.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Report cells that were not measured anew."),
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="JUnit XML file to write.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            help="Markdown file to append to; default: $GITHUB_STEP_SUMMARY where it is set.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Fail (exit 1) where a metric got worse beyond doubt and beyond its minimum effect."""
    from ...harness.files import write_bytes
    from ..references import stored_at
    from ..revisions import records_of
    from . import junit as xml
    from .policy import read_policy
    from .report import facts, markdown_report, text_report
    from .verdict import judge

    try:
        rules = read_policy(policy)
        if allow_missing:
            rules = rules.model_copy(update={"missing": "report"})
        with ExitStack() as stack:
            verdict = judge(
                stored_at(results),
                stack.enter_context(records_of(baseline)),
                rules,
                release=stack.enter_context(records_of(release)) if release is not None else None,
                repeats=[s for ref in repeats or () for s in stack.enter_context(records_of(ref))],
            )
    except MedbenchError as error:
        if junit is not None:
            write_bytes(junit, xml.refusal_xml(str(error)))
        _append(summary, f"## medbench gate: could not compare\n\n{error}\n")
        raise
    if junit is not None:
        write_bytes(junit, xml.junit_xml(verdict))
    _append(summary, markdown_report(verdict))
    typer.echo(json.dumps(facts(verdict), indent=1) if as_json else text_report(verdict))
    if not verdict.passed:
        message = "a metric got worse; the lines above say which and by how much"
        raise ValidationFailed(message)


def _append(file: Path | None, text: str) -> None:
    named = os.environ.get("GITHUB_STEP_SUMMARY", "").strip()
    target = file or (Path(named) if named else None)
    if target is None:
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
    except OSError as error:
        from ...harness.errors import UsageError

        message = f"cannot write the summary {target}: {error.strerror or error}"
        raise UsageError(message) from error
