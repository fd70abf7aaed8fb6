"""The tasks' own verbs: `medbench score`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..harness.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add `score` with its scorers to the command line."""
    scorers = typer.Typer(help="Score results that were made elsewhere.", no_args_is_help=True)
    scorers.command("vqa")(score_vqa)

    @scorers.callback()
    def options() -> None:
        pass

    app.add_typer(scorers, name="score")


def score_vqa(
    answers: Annotated[
        Path, typer.Option("--answers", help="JSONL with question_id and text.", show_default=False)
    ],
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold",
            help="JSONL with question_id, question, answer, answer_type (OPEN or CLOSED) and, "
            "where known, image, language, question_type, modality, organ.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Instead of --gold: vqa-rad, slake@val …")
    ] = None,
    compare_with: Annotated[
        Path | None,
        typer.Option("--compare", help="Further answers to the same questions, compared in pairs."),
    ] = None,
    write_gold: Annotated[
        Path | None,
        typer.Option("--write-gold", help="Also write the questions in the format of --gold."),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on standard output, for machines.")
    ] = False,
) -> None:
    """Score answers to medical questions; needs no model, no GPU and no torch."""
    from ..harness.locations import data_root as environment_root
    from ..harness.registry import load_dataset
    from .vqa.scoring.asked import asked_of, question_set
    from .vqa.scoring.jsonl_files import read_answers, read_references, write_references
    from .vqa.scoring.report import compare, report, text_of_comparison, text_of_report

    if (gold is None) == (dataset is None):
        message = "say what was asked: either --gold FILE.jsonl or --dataset ID"
        raise UsageError(message)
    if gold is not None:
        asked = read_references(gold)
    else:
        root = data_root or environment_root()
        asked = asked_of(question_set(load_dataset(str(dataset), data_root=root)))
    if write_gold is not None:
        write_references(write_gold, asked)
    found = report(asked, read_answers(answers))
    others = report(asked, read_answers(compare_with)) if compare_with is not None else None
    if as_json:
        facts = found.facts()
        if others is not None:
            facts["comparison"] = compare(found, others).facts()
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    typer.echo(text_of_report(found))
    if others is not None:
        typer.echo(text_of_comparison(compare(found, others)))
