"""`medbench compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...harness.errors import UsageError

if TYPE_CHECKING:
    from .curve import Curve
    from .pairing import Plan
    from .places import Place


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
    difference: Annotated[
        float | None,
        typer.Option(
            "--difference",
            help="Say how many images would tell this difference, in the unit of --metric.",
        ),
    ] = None,
    power: Annotated[
        float, typer.Option("--power", help="Chance to tell it.", show_default=True)
    ] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Say which of several systems are distinguishable, on what, and what more images would show.

    Pairs are compared on the same images; p values are corrected by Holm over the pairs of a
    metric.
    """
    from ..references import named
    from . import report
    from .matrix import matrices
    from .pairing import Plan
    from .places import places

    if difference is not None and len(metric or []) != 1:
        message = "--difference is in the unit of one metric; name it, such as --metric psnr"
        raise UsageError(message)
    plan = Plan(power, difference)
    found = [
        place
        for place in places(named(systems, results))
        if task in (None, place.task) and dataset in (None, place.dataset)
    ]
    if not found:
        message = f"no two systems share task {task or 'any'} on dataset {dataset or 'any'}"
        raise UsageError(message)
    if curve:
        _curves(
            [line for place in found for line in _lines(place, metric, group, plan)],
            output,
            as_json,
        )
        return
    if output is not None:
        message = "--output writes the picture of --curve; give both"
        raise UsageError(message)
    compared = [matrix for place in found for matrix in matrices(place, metric, group, plan)]
    if not compared:
        message = "the systems share no metric that has a better direction"
        raise UsageError(message)
    text = json.dumps(report.facts(compared), indent=1) if as_json else ""
    typer.echo(text or report.text_report(compared))


def _lines(place: Place, metrics: list[str] | None, group: str | None, plan: Plan) -> list[Curve]:
    from ...harness.tables import columns_of
    from .curve import curve

    default = columns_of(place.task, place.records)[:1]
    chosen = metrics or [f"{c.metric}[{c.setting}]" if c.setting else c.metric for c in default]
    return [curve(place, metric, group, plan) for metric in chosen]


def _curves(lines: list[Curve], output: Path | None, as_json: bool) -> None:
    from ...harness.files import write_bytes
    from .curve import curve_facts, curve_svg, curve_table

    if output is not None:
        if output.suffix != ".svg":
            message = f"--output {output}: a curve is written as .svg"
            raise UsageError(message)
        for number, line in enumerate(lines):
            several = f"-{line.topic.place.task}-{line.topic.column.metric}-{number}"
            stem = output.stem + (several if len(lines) > 1 else "")
            path = output.with_name(f"{stem}.svg")
            write_bytes(path, curve_svg(line).encode())
            typer.echo(str(path), err=True)
    if as_json:
        typer.echo(json.dumps([curve_facts(line) for line in lines], indent=1))
    else:
        typer.echo("\n\n".join(curve_table(line) for line in lines))
