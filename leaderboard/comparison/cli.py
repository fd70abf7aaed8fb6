"""`medbench compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...harness.errors import UsageError


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]",
            help="Records, directories of records, or names of tokenizers in --results.",
        ),
    ],
    results: Annotated[
        Path, typer.Option("--results", help="Where names are looked up.", show_default=True)
    ] = Path("results"),
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="Metric, such as psnr or 'map[mean lp-val]'; default: the task's."
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Modality, all or macro; default: overall.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")] = None,
    curve: Annotated[
        bool,
        typer.Option("--curve", help="The systems are checkpoints of one model: show a curve."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", help="With --curve: the picture to write, .svg."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Say which of several systems are distinguishable, on what, and what more images would show.

    Pairs are compared on the same images; p values are corrected by Holm over the pairs of a
    metric.
    """
    from ..references import named
    from . import report
    from .matrix import matrices, places

    found = [
        place
        for place in places(named(systems, results))
        if task in (None, place.task) and dataset in (None, place.dataset)
    ]
    if not found:
        message = f"no two systems share task {task or 'any'} on dataset {dataset or 'any'}"
        raise UsageError(message)
    if curve:
        _curves(found, metric, group, output, as_json)
        return
    if output is not None:
        message = "--output writes the picture of --curve; give both"
        raise UsageError(message)
    all_of_them = [matrix for place in found for matrix in matrices(place, metric, group)]
    if not all_of_them:
        message = "the systems share no metric that has a better direction"
        raise UsageError(message)
    text = json.dumps(report.facts(all_of_them), indent=1) if as_json else ""
    typer.echo(text or report.text_report(all_of_them))


def _curves(
    found: list, metrics: list[str] | None, group: str | None, output: Path | None, as_json: bool
) -> None:
    from dataclasses import asdict

    from ...harness.files import write_bytes
    from ...harness.tables import columns_of
    from .curve import curve, curve_svg, curve_table

    lines = []
    for place in found:
        records = [stored.record for stored in place.systems.values()]
        default = columns_of(place.task, records)[:1]
        chosen = metrics or [f"{c.metric}[{c.setting}]" if c.setting else c.metric for c in default]
        lines += [curve(place, metric, group) for metric in chosen]
    if output is not None:
        if output.suffix != ".svg":
            message = f"--output {output}: a curve is written as .svg"
            raise UsageError(message)
        for number, line in enumerate(lines):
            several = f"-{line.task}-{line.column.metric}-{number}" if len(lines) > 1 else ""
            path = output.with_name(f"{output.stem}{several}.svg")
            write_bytes(path, curve_svg(line).encode())
            typer.echo(str(path), err=True)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        typer.echo("\n\n".join(curve_table(line) for line in lines))
