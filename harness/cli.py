"""The harness's verbs: run, validate, list, doctor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ExitCode, UsageError, ValidationFailed
from .precision import Precision

if TYPE_CHECKING:
    from .dry_run import PlannedCell

Output = Annotated[
    Path, typer.Option("--output", "--out", help="Results directory.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", show_default=True)
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Checkpoint of your own, for one --tokenizer.")
]
Config = Annotated[
    str | None,
    typer.Option("--config", help="JSON file (or text) in the model's own constructor terms."),
]


class Listing(StrEnum):
    """What `medbench list` lists."""

    TOKENIZERS = "tokenizers"
    FAMILIES = "families"
    TASKS = "tasks"
    DATASETS = "datasets"


def register(app: typer.Typer) -> None:
    """Add the harness's verbs to the command line."""
    app.command()(run)
    app.command()(validate)
    app.command("list")(list_names)
    app.command()(doctor)


def run(
    tokenizer: Annotated[
        list[str],
        typer.Option(
            "--tokenizer", help="NAME, NAME@VARIANT or package.module:factory; repeatable."
        ),
    ],
    task: Annotated[list[str], typer.Option("--task", help="Task; repeatable.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="Id, folder:PATH, folder@MODALITY:PATH, manifest:FILE; default: the task's own.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Images per group at most.")] = None,
    output: Output = Path("results"),
    seed: Annotated[int, typer.Option("--seed", help="For tasks that draw at random.")] = 0,
    device: Device = "auto",
    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size", help="Images per forward pass; auto halves itself when memory runs out."
        ),
    ] = "auto",
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="Of the tokenizer; bf16 is never ranked beside fp32."),
    ] = Precision.FP32,
    weights: Weights = None,
    config: Config = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Variant name of your own --weights or --config.")
    ] = None,
    data_root: DataRoot = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Refuse any network use (run never downloads anyway).")
    ] = False,
    allow_modified: Annotated[
        bool,
        typer.Option(
            "--allow-modified",
            help="Read data files that are not the owners' own; the record says so.",
        ),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help="vqa: paper, tiny or smoke; synthesis also script, small, or a file."
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            "--extractor",
            help="recon: tf, clean, lpips-vgg, dinov2, timm:NAME, openclip:MODEL/TAG.",
        ),
    ] = None,
    retention: Annotated[
        bool, typer.Option("--retention", help="recon: ask a classifier what it still sees.")
    ] = False,
    generator: Annotated[
        Path | None,
        typer.Option("--generator", help="synthesis: a trained one, folder or checkpoint."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="vqa: a trained language model.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="vqa: answers from elsewhere, as JSONL.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="vqa: how --answers or --model were made; only equal recipes are compared.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Measure again; the replaced record is kept aside.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each cell would do, and do nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure tokenizers on tasks; finished cells are answered from their records."""
    from . import ranks
    from .datasets import official
    from .dry_run import planned
    from .inputs import parse_config
    from .locations import data_root as environment_root
    from .offline import block_network
    from .provenance import command_line
    from .request import Request
    from .runner import execute
    from .standard_output import stdout_aside
    from .tables import run_report

    if offline:
        block_network()
    if allow_modified:
        official.allow_modified()
    ranks.join()
    request = Request(
        tokenizers=tokenizer,
        tasks=task,
        dataset=dataset,
        limit=limit,
        output=output,
        seed=seed,
        device=None if device == "auto" else device,
        batch_size=_batch_size(batch_size),
        precision=precision,
        weights=weights,
        config=parse_config(config),
        label=label,
        data_root=data_root or environment_root(),
        force=force,
        options=_given(
            preset=preset,
            extractor=extractor,
            retention="yes" if retention else None,
            generator=generator,
            model=model,
            answers=answers,
            recipe=recipe,
        ),
        command=command_line(),
    )
    if dry_run:
        with stdout_aside() if as_json else nullcontext():
            cells = planned(request)
        _tell(cells, as_json=as_json)
        return
    try:
        with stdout_aside() if as_json else nullcontext():
            result = execute(request)
    except KeyboardInterrupt:
        typer.echo("stopped; finished shards are kept, the same command goes on", err=True)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    if ranks.own() != 0:
        raise typer.Exit(int(result.exit_code))
    if as_json:
        typer.echo(json.dumps([r.model_dump(mode="json") for r in result.records], indent=1))
    elif result.records:
        typer.echo(run_report(result.records))
    for cell in result.cells:
        if cell.record is not None and not as_json:
            answered = " (answered from the record)" if cell.cached else ""
            typer.echo(f"{cell.path}{answered}", err=True)
        for failure in cell.record.dataset.failed if cell.record else []:
            typer.echo(f"not read: {failure.reason}", err=True)
        if cell.error is not None:
            kind = type(cell.error).__name__
            typer.echo(f"{kind}: {cell.tokenizer} / {cell.task}: {cell.error}", err=True)
    raise typer.Exit(int(result.exit_code))


def _tell(cells: Sequence[PlannedCell], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(cell) for cell in cells], indent=1))
    else:
        typer.echo("\n\n".join(cell.text() for cell in cells))


def _given(**options: str | Path | None) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError as error:
        message = f"--batch-size {text!r}: a number or auto is expected"
        raise UsageError(message) from error


def validate(
    tokenizer: Annotated[str, typer.Argument(help="NAME, NAME@VARIANT or package.module:factory.")],
    weights: Weights = None,
    config: Config = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check that a tokenizer keeps the protocol: shapes, ranges, determinism, invariance."""
    from .inputs import parse_config
    from .tokenizer_registry import build_tokenizer, choose_tokenizer

    choice = choose_tokenizer(tokenizer, config=parse_config(config), weights=weights)
    from .conformance import validate as check
    from .device import choose_device, repeatable_arithmetic
    from .standard_output import stdout_aside

    with repeatable_arithmetic(), stdout_aside() if as_json else nullcontext():
        report = check(build_tokenizer(choice, device=choose_device(device)))
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=1, default=str))
    else:
        typer.echo("\n".join(report.lines()))
    if not report.passed:
        message = f"{choice.full_name} does not keep the protocol; the failed checks are above"
        raise ValidationFailed(message)


def list_names(
    what: Annotated[Listing | None, typer.Argument(help="Only one kind.")] = None,
    as_json: Json = False,
) -> None:
    """List tokenizers with their variants, tasks and datasets."""
    from .listing import listing, listing_text

    found = listing(what.value if what else None)
    typer.echo(json.dumps(found, indent=1) if as_json else listing_text(found))


def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Say what is installed, which weights and data are here, and how to get what is missing."""
    from .doctor import diagnose

    report = diagnose(data_root)
    typer.echo(json.dumps(report.facts(), indent=1) if as_json else report.text())
    raise typer.Exit(int(ExitCode.OK if report.usable else ExitCode.MISSING_PREREQUISITE))
