"""The tasks' own verbs: `medbench score`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..harness.errors import UsageError

if TYPE_CHECKING:
    from ..harness.datasets.question import Question
    from .vqa.scoring.asked import Asked
    from .vqa.scoring.report import Report


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
        Path | None,
        typer.Option("--answers", help="JSONL with question_id and text (or response)."),
    ] = None,
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
        typer.Option("--write-gold", help="Write the questions in the format of --gold."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write the verdict on each answer of --answers, as JSONL."),
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
    from .vqa.controls import controls_of
    from .vqa.scoring.jsonl_files import read_answers, write_references, write_verdicts
    from .vqa.scoring.report import report

    files = {"--gold": gold, "--answers": answers, "--compare": compare_with}
    _refuse_overwriting(files, {"--write-gold": write_gold, "--output": output})
    asked, learnt = _asked(gold, dataset, data_root)
    if write_gold is not None:
        write_references(write_gold, asked)
    if answers is None:
        if write_gold is None or compare_with is not None or output is not None:
            message = "--answers FILE.jsonl is missing; only --write-gold goes without it"
            raise UsageError(message)
        return
    found = report(asked, read_answers(answers))
    others = report(asked, read_answers(compare_with)) if compare_with is not None else None
    if output is not None:
        write_verdicts(output, found)
    controls = controls_of(asked, learnt)
    typer.echo((_json_of if as_json else _text_of)(found, others, controls))


def _refuse_overwriting(
    inputs: Mapping[str, Path | None], outputs: Mapping[str, Path | None]
) -> None:
    taken = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            message = f"{option} {path} is the file of {other}; write to another one"
            raise UsageError(message)


def _asked(
    gold: Path | None, dataset: str | None, data_root: Path | None
) -> tuple[list[Asked], Sequence[Question] | str]:
    """The questions of a file or of a data set, and those to learn on, or why there are none."""
    from ..harness.locations import data_root as environment_root
    from ..harness.registry import load_dataset
    from .vqa.controls import training_questions
    from .vqa.scoring.asked import asked_of, question_set
    from .vqa.scoring.jsonl_files import read_references

    if (gold is None) == (dataset is None):
        message = "say what was asked: either --gold FILE.jsonl or --dataset ID"
        raise UsageError(message)
    if gold is not None:
        return read_references(gold), "--gold has no training questions; --dataset may"
    found = load_dataset(str(dataset), data_root=data_root or environment_root())
    return asked_of(question_set(found)), training_questions(found)


_Controls = Mapping[str, Mapping[str, float | str | None]]


def _json_of(found: Report, others: Report | None, controls: _Controls) -> str:
    facts = found.facts() | {"controls": controls}
    if others is not None:
        facts |= {"comparison": _comparison(found, others), "second": others.facts()}
    return json.dumps(facts, indent=1, ensure_ascii=False)


def _comparison(found: Report, others: Report) -> dict[str, Any]:
    from .vqa.scoring.report import compare

    return {name: each.facts() for name, each in compare(found, others).items()}


def _text_of(found: Report, others: Report | None, controls: _Controls) -> str:
    from .vqa.scoring.report import compare, text_of_comparison, text_of_controls, text_of_report

    parts = [text_of_report(found), text_of_controls(controls)]
    if others is not None:
        second = ["second (--compare)", text_of_report(others)]
        parts = ["first (--answers)", *parts, *second, text_of_comparison(compare(found, others))]
    return "\n".join(parts)
