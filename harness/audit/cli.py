"""`medbench data audit`: same pictures and shared patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ExitCode, UsageError


def register(app: typer.Typer) -> None:
    """Add `audit` to the `data` verbs."""
    app.command()(audit)


def audit(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Folders of images (train, val, test directories are splits) or data sets: "
            "medsynth@val, breastmnist@28-train, manifest@train:FILE.",
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="PRIVATE",
            help="Private folder, folder:PATH or manifest:FILE to compare with; repeatable. "
            "Nothing of it is copied, cached or named.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Images per group and source at most.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", help="Write everything (.json) or the pairs (.csv)."),
    ] = None,
    exclusions: Annotated[
        Path | None,
        typer.Option("--exclusions", help="Write the images to leave out, with a version (YAML)."),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Draw the pairs side by side (PNG).")
    ] = None,
    show_private: Annotated[
        bool,
        typer.Option("--show-private", help="Name the private files, and draw them in --sheet."),
    ] = False,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Refuse any network use (audit never needs it).")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on standard output, for machines.")
    ] = False,
) -> None:
    """Find equal and nearly equal images within and between splits, data sets and a private folder.

    Finds copies that were recompressed (JPEG 60 or better), resized (50 to 200%), or made up to
    10% brighter or darker; not crops, rotations or mirror images. Neighbouring slices or video
    frames can count as the same picture. Exit code 1: a picture or a patient lies in two splits,
    in two data sets or in the private folder.

    Written are only the files asked for and, in the cache, signatures of the images that are not
    private: hashes and a 32-pixel field of local contrast.
    """
    from ..locations import data_root as environment_root
    from ..offline import block_network
    from .exclusions import write_exclusions
    from .job import Request, run_audit
    from .report import text_report, write_findings
    from .sheet import write_sheet

    if output is not None and output.suffix.lower() not in {".json", ".csv"}:
        message = f"--output {output}: the suffix must be .json (everything) or .csv (the pairs)"
        raise UsageError(message)
    if offline:
        block_network()
    request = Request(
        references=tuple(paths),
        against=tuple(against or ()),
        limit=limit,
        show_private=show_private,
        data_root=data_root or environment_root(),
    )
    result = run_audit(request)
    findings = result.findings
    if output is not None:
        write_findings(findings, output)
    if exclusions is not None:
        write_exclusions(findings, exclusions)
    if sheet is not None:
        write_sheet(result, sheet, show_private=show_private)
    if as_json:
        text = json.dumps(findings.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    else:
        text = text_report(findings)
    typer.echo(text)
    if findings.contaminated:
        raise typer.Exit(ExitCode.FAILED_CHECK)
