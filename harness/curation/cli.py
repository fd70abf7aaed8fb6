"""`medbench data curate`: training images from what owners distribute."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cluster import EngineName
from ..errors import ExitCode, UsageError

if TYPE_CHECKING:
    from .parts import Hands
    from .thresholds import Thresholds


class RulesOption(StrEnum):
    """Whose processing."""

    MEDITOK = "meditok"
    SA_MED2D = "sa-med2d"


class FormatOption(StrEnum):
    """How the kept images are written."""

    FOLDER = "folder"
    WDS = "wds"


class PresetOption(StrEnum):
    """Relevance rules that have a name."""

    BIOMEDICA = "biomedica"


def register(app: typer.Typer) -> None:
    """Add `curate` to the `data` commands."""
    app.command()(curate)


def curate(
    source: Annotated[
        list[str],
        typer.Argument(
            help="A folder of DICOM files or of images (one directory per modality), a table "
            "(.csv, .parquet, .jsonl) of files, captions and tags, or folder@MODALITY:PATH, "
            "dicom:PATH, nifti@MODALITY:PATH, manifest:TABLE; repeatable."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "--out", help="New folder; the same command goes on in it."),
    ],
    output_format: Annotated[
        FormatOption,
        typer.Option("--format", help="PNG files in folders, or WebDataset shards."),
    ] = FormatOption.FOLDER,
    rules: Annotated[
        RulesOption,
        typer.Option(
            "--rules",
            help="meditok: every fifth slice on three planes, CT as Hounsfield units, image "
            "filters. sa-med2d: all slices stretched to 8 bits, with their masks.",
        ),
    ] = RulesOption.MEDITOK,
    preset: Annotated[
        PresetOption | None,
        typer.Option("--preset", help="Keep only what this rule calls relevant, by its labels."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Keep only images with one of these tags; repeatable."),
    ] = None,
    captions: Annotated[
        bool,
        typer.Option(
            "--captions", help="Keep only images whose caption is long enough and clinical."
        ),
    ] = False,
    keyword: Annotated[
        list[str] | None,
        typer.Option("--keywords", help="With --captions: a word that counts; repeatable."),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            "--masks",
            help="With --rules sa-med2d: folder of masks named like the images; repeat it for "
            "several annotations of the same images.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", help="Your own YAML in place of the built-in numbers."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes; default: one per core.", min=1)
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option("--engine", help="local: processes of this machine; ray: a cluster."),
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", help="With --engine ray: where the cluster is.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the pick of images on the sheets.")] = 0,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on standard output, for machines.")
    ] = False,
) -> None:
    """Turn volumes and images into training images; say what was rejected, and why."""
    from ..locations import data_root as environment_root
    from .job import Job, run
    from .unit import Settings

    _check(rules, output_format, masks=masks or [], captions=captions, keywords=keyword or [])
    settings = Settings(
        rules=rules.value,
        format=output_format.value,
        thresholds=_thresholds(thresholds, keyword or []),
        preset=preset.value if preset else None,
        tags=tuple(tag or ()),
        captions=captions,
        masked=bool(masks),
        seed=seed,
    )
    job = Job(
        sources=tuple(source),
        out=output,
        settings=settings,
        masks=tuple(masks or ()),
        hands=_hands(engine, address, workers),
        data_root=data_root or environment_root(),
    )
    try:
        report = run(job)
    except KeyboardInterrupt:
        typer.echo("stopped; finished parts are kept, the same command goes on", err=True)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    typer.echo(json.dumps(report, indent=1) if as_json else report_text(report, output))


def _hands(engine: EngineName, address: str | None, workers: int | None) -> Hands:
    from .parts import Hands

    if engine is EngineName.LOCAL:
        if address is not None:
            message = "--address goes with --engine ray"
            raise UsageError(message)
        return Hands(workers or os.cpu_count() or 1)
    if workers is not None:
        message = "--workers is of this machine; with --engine ray the cluster decides"
        raise UsageError(message)
    from ..cluster import Cluster

    return Hands(cluster=Cluster(address))


def _check(
    rules: RulesOption,
    output_format: FormatOption,
    *,
    masks: list[Path],
    captions: bool,
    keywords: list[str],
) -> None:
    if rules is RulesOption.SA_MED2D and output_format is FormatOption.WDS:
        message = "--rules sa-med2d writes folders (its masks lie beside the images), not shards"
        raise UsageError(message)
    if masks and rules is not RulesOption.SA_MED2D:
        message = "--masks goes with --rules sa-med2d; the meditok rules use no masks"
        raise UsageError(message)
    if keywords and not captions:
        message = "--keywords goes with --captions: without it no caption is looked at"
        raise UsageError(message)


def _thresholds(path: Path | None, keywords: list[str]) -> Thresholds:
    from .thresholds import Threshold, packaged_thresholds, read_thresholds

    found = read_thresholds(path) if path else packaged_thresholds()
    if not keywords:
        return found
    own = Threshold[tuple[str, ...]](value=tuple(keywords), source="choice: --keywords")
    return found.model_copy(
        update={"captions": found.captions.model_copy(update={"keywords": own})}
    )


def report_text(report: dict[str, Any], out: Path) -> str:
    """Counts by source and reason as plain text."""
    lines = []
    for source, tally in report["by_source"].items():
        lines.append(f"{source}: {tally['kept']} of {tally['candidates']} kept")
        lines += [f"  {reason}: {number}" for reason, number in tally["rejected"].items()]
    if report["masks_kept"] or report["masks_dropped"]:
        kept, dropped = report["masks_kept"], report["masks_dropped"]
        lines.append(f"masks: {kept} kept, {dropped} dropped as too small")
    lines.append(f"{out}: index.parquet, candidates.parquet, report.json; look at sheets/")
    return "\n".join(lines)
